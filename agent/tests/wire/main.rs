//! The agent against a server of the tests' own: joining, renewing, uploading.

mod enrolment;
mod support;
mod upload;
