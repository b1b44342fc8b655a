//! The API and the pages from outside, on a real ledger, record and keyring; only the cameras are made up.

mod access;
mod footage;
mod pages;
mod site;
