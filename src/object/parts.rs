//! Parts of a multipart upload and the pieces of a part, below both the upload and its resume
//! record.

pub(in crate::object) mod cleanup;
pub(in crate::object) mod part;
pub(in crate::object) mod pending_create;
pub(in crate::object) mod piece_support;
pub(in crate::object) mod pieces;
pub(in crate::object) mod tail;
