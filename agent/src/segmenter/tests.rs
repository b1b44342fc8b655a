//! Empty until the tables are written.
