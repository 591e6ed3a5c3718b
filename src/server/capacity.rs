//! How many sessions fit: into the file descriptors, into the memory, on this machine.

pub mod descriptors;
pub mod machine;
pub mod memory;
