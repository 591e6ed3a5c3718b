//! The number of sessions for which the file descriptors and the memory of the machine suffice.

pub mod descriptors;
pub mod machine;
pub mod memory;
