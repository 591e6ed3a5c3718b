//! `allow_names`, `deny_names` and `names` of a mount: which names files may have, and how the names
//! that clients send are changed.

mod changed;
mod patterns;
