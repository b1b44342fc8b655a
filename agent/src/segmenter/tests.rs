//! The segmenter's behaviour as tables: what goes in, and the actions that come out, as text.

mod bench;
mod cuts;
mod times;
