//! TYPE A on a converting mount: CRLF on the wire ↔ LF in the object.

use bytes::Bytes;

/// Wire → object: CRLF becomes LF, a lone CR or LF stays; whatever way the bytes are cut.
#[derive(Debug, Default)]
pub struct FromWire {}

impl FromWire {
    /// The converted bytes. A CR at the very end is held back until the next call.
    pub fn convert(&mut self, chunk: Bytes) -> Bytes {
        let _ = chunk;
        todo!()
    }
    /// The CR held back at the end of the stream, if any.
    pub fn finish(&mut self) -> Bytes {
        todo!()
    }
}

/// Object → wire: LF becomes CRLF; CRLF stays as it is, whatever way the bytes are cut.
#[derive(Debug, Default)]
pub struct ToWire {}

impl ToWire {
    /// The converted bytes.
    pub fn convert(&mut self, chunk: Bytes) -> Bytes {
        let _ = chunk;
        todo!()
    }
}
