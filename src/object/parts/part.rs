//! One part on its way: chunks, their checksum, the memory they are in, and the request that
//! carries them. The first bytes of a slow client's part can lie in pieces in the store (`pieces`).

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use aws_sdk_s3::primitives::{ByteStream, SdkBody};
use bytes::{Bytes, BytesMut};
use http_body::{Frame, SizeHint};

use crate::memory::Grant;
use crate::object::attributes::with_key;
use crate::object::checksum::{Integrity, crc_header};
use crate::object::echo::{Echo, Echoed};
use crate::object::error::{ObjectError, failure};
use crate::object::head::{Attributes, with_attributes};
use crate::object::location::Location;
use crate::object::multipart::{Created, DonePart, Target, part_number};
use crate::object::parts::tail::PieceNote;

/// A part that is being filled, or is full.
#[derive(Debug, Clone, Default)]
pub(in crate::object) struct Part {
    /// Pieces in the store that hold its first bytes.
    pieces: Vec<PieceNote>,
    /// The bytes after those.
    chunks: Vec<Bytes>,
    /// Of the chunks.
    crc: Option<crc32fast::Hasher>,
    /// Bytes in all.
    size: u64,
    /// Bytes in chunks.
    in_memory: u64,
    /// The memory the chunks are in; without it they are in the admission's.
    grants: Vec<Arc<Grant>>,
    /// Whether bytes of it are lost: no part can follow it.
    cut: bool,
}

impl Part {
    /// An empty part, whose CRC-32 is computed if `crc`.
    pub(in crate::object) fn new(crc: bool) -> Self {
        Part {
            crc: crc.then(crc32fast::Hasher::new),
            ..Part::default()
        }
    }

    /// Several as one, in their order; `None` if they hold nothing. None of them may lie in pieces.
    pub(in crate::object) fn joined(parts: Vec<Part>) -> Option<Part> {
        let mut whole = Part::default();
        for mut part in parts {
            whole.size += part.size;
            whole.in_memory += part.in_memory;
            whole.chunks.append(&mut part.chunks);
            whole.grants.append(&mut part.grants);
        }
        (whole.size > 0).then_some(whole)
    }

    /// Takes the pieces out: what stays is in memory.
    pub(in crate::object) fn take_pieces(&mut self) -> Vec<PieceNote> {
        self.size = self.in_memory;
        std::mem::take(&mut self.pieces)
    }

    /// Pieces in the store that hold its first bytes.
    pub(in crate::object) fn pieces(&self) -> &[PieceNote] {
        &self.pieces
    }

    /// Whether bytes of it are lost: no part can follow it.
    pub(in crate::object) fn is_cut(&self) -> bool {
        self.cut
    }

    /// Bytes that are in memory.
    pub(in crate::object) fn in_memory(&self) -> u64 {
        self.in_memory
    }

    /// Bytes that it has been granted memory for.
    pub(in crate::object) fn granted(&self) -> u64 {
        self.grants.iter().map(|grant| grant.bytes()).sum()
    }

    /// More memory for it.
    pub(in crate::object) fn add_memory(&mut self, grant: Grant) {
        self.grants.push(Arc::new(grant));
    }

    /// What is in memory, to be stored as a piece; it stays here as well.
    pub(in crate::object) fn copy_for_piece(&mut self, integrity: Integrity) -> Part {
        if integrity == Integrity::Signed {
            self.join();
        }
        let mut part = self.clone();
        part.take_pieces();
        part
    }

    /// What was in memory is in the store now: its memory is given back.
    pub(in crate::object) fn stored(&mut self, piece: PieceNote) {
        self.chunks.clear();
        self.grants.clear();
        self.in_memory = 0;
        if self.crc.is_some() {
            self.crc = Some(crc32fast::Hasher::new());
        }
        self.pieces.push(piece);
    }

    /// Gives memory back that nothing is in.
    pub(in crate::object) fn release(&mut self) {
        if self.in_memory == 0 {
            self.grants.clear();
        }
    }

    /// Adds bytes whose checksum is known.
    pub(in crate::object) fn append(&mut self, chunks: Vec<Bytes>, crc: &crc32fast::Hasher) {
        if let Some(whole) = &mut self.crc {
            whole.combine(crc);
        }
        let size: usize = chunks.iter().map(Bytes::len).sum();
        self.size += size as u64;
        self.in_memory += size as u64;
        self.chunks.extend(chunks);
    }

    /// Adds what another has in memory.
    pub(in crate::object) fn append_memory(&mut self, rest: &Part) {
        let crc = rest.crc.clone().unwrap_or_else(|| rest.hasher());
        self.grants.extend(rest.grants.iter().cloned());
        self.append(rest.chunks.clone(), &crc);
    }

    /// Bytes in it.
    pub(in crate::object) fn size(&self) -> u64 {
        self.size
    }

    /// CRC-32 of what is in memory.
    pub(in crate::object) fn crc32(&self) -> u32 {
        self.crc().unwrap_or_else(|| self.hash())
    }

    /// One chunk more; it is hashed now, while it is in the processor's cache.
    pub(in crate::object) fn push(&mut self, chunk: Bytes) {
        if let Some(crc) = &mut self.crc {
            crc.update(&chunk);
        }
        self.size += chunk.len() as u64;
        self.in_memory += chunk.len() as u64;
        self.chunks.push(chunk);
    }

    /// Puts it in one piece, as a signed payload wants it: before it is held twice, since the
    /// pieces and their copy would be more than was granted.
    pub(in crate::object) fn join(&mut self) {
        let chunks = std::mem::take(&mut self.chunks);
        self.chunks = vec![join(chunks)];
    }

    fn crc(&self) -> Option<u32> {
        self.crc.clone().map(crc32fast::Hasher::finalize)
    }

    /// Splits it into what is sent; all of it must be in memory.
    pub(in crate::object) fn into_payload(mut self, integrity: Integrity) -> Payload {
        let crc = match integrity {
            Integrity::Crc32 => Some(self.crc32()),
            Integrity::Signed => None,
        };
        if integrity == Integrity::Signed {
            self.join();
        }
        let chunks = std::mem::take(&mut self.chunks);
        Payload {
            chunks: chunks.into(),
            size: self.size,
            crc,
            _grants: std::mem::take(&mut self.grants),
        }
    }

    fn hash(&self) -> u32 {
        self.hasher().finalize()
    }

    fn hasher(&self) -> crc32fast::Hasher {
        let mut crc = crc32fast::Hasher::new();
        self.chunks.iter().for_each(|chunk| crc.update(chunk));
        crc
    }
}

/// A part on its way, whose bytes stay at hand until the store has them: should the upload break
/// off, they can be kept.
#[derive(Debug, Clone)]
pub(in crate::object) struct RetainedPart(Arc<Mutex<Part>>);

impl RetainedPart {
    pub(in crate::object) fn new(part: Part) -> Self {
        RetainedPart(Arc::new(Mutex::new(part)))
    }

    /// The part as it is sent; its bytes are held once.
    pub(in crate::object) fn to_send(&self, integrity: Integrity) -> Part {
        let mut part = self.locked();
        if integrity == Integrity::Signed {
            part.join();
        }
        part.clone()
    }

    /// Whether some of it lies in pieces.
    pub(in crate::object) fn has_pieces(&self) -> bool {
        !self.locked().pieces.is_empty()
    }

    /// See [`Part::is_cut`].
    pub(in crate::object) fn is_cut(&self) -> bool {
        self.locked().cut
    }

    /// A copy of its state; the bytes are held once.
    pub(in crate::object) fn part(&self) -> Part {
        self.locked().clone()
    }

    /// See [`Part::copy_for_piece`].
    pub(in crate::object) fn copy_for_piece(&self, integrity: Integrity) -> Part {
        self.locked().copy_for_piece(integrity)
    }

    /// See [`Part::stored`].
    pub(in crate::object) fn stored(&self, piece: PieceNote) {
        self.locked().stored(piece);
    }

    /// The pieces from this one on are lost, and what follows them.
    pub(in crate::object) fn cut_at(&self, piece: usize) {
        let mut part = self.locked();
        let pieces = part.pieces.iter().take(piece).cloned().collect();
        *part = Part {
            pieces,
            cut: true,
            ..Part::default()
        };
        part.size = part.pieces.iter().map(|piece| piece.size).sum();
    }

    /// Takes it out. Empty if the store has it.
    pub(in crate::object) fn take(&self) -> Part {
        std::mem::take(&mut *self.locked())
    }

    fn locked(&self) -> MutexGuard<'_, Part> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The SDK signs only payloads in one piece, so a signed part costs a copy, chunk by chunk into
/// fresh memory while the chunks go back to be used again; next to SHA-256 it does not count.
fn join(chunks: Vec<Bytes>) -> Bytes {
    if chunks.len() < 2 {
        return chunks.into_iter().next().unwrap_or_default();
    }
    let mut whole = BytesMut::with_capacity(chunks.iter().map(Bytes::len).sum());
    for chunk in chunks {
        whole.extend_from_slice(&chunk);
    }
    whole.freeze()
}

/// What one PutObject or UploadPart carries; its memory is given back when it is dropped.
#[derive(Debug)]
pub(in crate::object) struct Payload {
    chunks: Arc<[Bytes]>,
    /// Bytes.
    pub(in crate::object) size: u64,
    /// CRC-32 of the bytes, if the payload is not signed.
    pub(in crate::object) crc: Option<u32>,
    _grants: Vec<Arc<Grant>>,
}

impl Payload {
    /// A body of known length that can be sent again from the chunks, without a copy.
    pub(in crate::object) fn body(&self) -> ByteStream {
        match &*self.chunks {
            [] => ByteStream::from_static(b""),
            [whole] => ByteStream::from(whole.clone()),
            _ => {
                let chunks = Arc::clone(&self.chunks);
                let size = self.size;
                ByteStream::new(SdkBody::retryable(move || {
                    SdkBody::from_body_1_x(Chunks {
                        chunks: Arc::clone(&chunks),
                        next: 0,
                        rest: size,
                    })
                }))
            }
        }
    }
}

/// The chunks as an HTTP body.
struct Chunks {
    chunks: Arc<[Bytes]>,
    next: usize,
    rest: u64,
}

impl http_body::Body for Chunks {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let this = self.get_mut();
        let Some(chunk) = this.chunks.get(this.next).cloned() else {
            return Poll::Ready(None);
        };
        this.next += 1;
        this.rest -= chunk.len() as u64;
        Poll::Ready(Some(Ok(Frame::data(chunk))))
    }

    fn is_end_stream(&self) -> bool {
        self.next == self.chunks.len()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.rest)
    }
}

/// PutObject of a part as an object of its own, with no attribute but its encryption. Gives its
/// ETag.
pub(in crate::object) async fn put_part(at: &Location, part: Part) -> Result<String, ObjectError> {
    let store = &at.store;
    let payload = part.into_payload(store.integrity(&at.bucket).await);
    let attributes = Attributes::of_tail(at);
    let request = with_attributes!(store.client().put_object(), &attributes)
        .bucket(&*at.bucket)
        .key(&at.key)
        .set_checksum_crc32(payload.crc.map(crc_header))
        .body(payload.body());
    let request = with_key!(request, at.key_of(&attributes))
        .customize()
        .config_override(store.deadline_for_body(payload.size));
    let request = match payload.crc {
        Some(_) => request.disable_payload_signing(),
        None => request,
    };
    let output = Box::pin(request.send()).await.map_err(failure)?;
    Ok(output.e_tag().unwrap_or_default().to_owned())
}

/// How often a part is sent that is acknowledged without a checksum, and is not there.
const PART_ROUNDS: u32 = 3;

/// UploadPart. One that is acknowledged without the checksum that the store sends is looked for.
pub(in crate::object) async fn upload_part(
    target: &Target,
    created: &Created,
    number: u32,
    part: Part,
) -> Result<DonePart, ObjectError> {
    let payload = part.into_payload(created.integrity);
    for _ in 0..PART_ROUNDS {
        let (done, echoed) = send_part(target, created, number, &payload).await?;
        if echoed == Echoed::AsEver {
            return Ok(done);
        }
        match Box::pin(target.listed_part(created, number)).await {
            // Complete compares it by this ETag and by the checksum of what was sent.
            Ok(Some(found)) if found.size == done.size => {
                target.location.store.echoes().part.missed();
                return Ok(DonePart {
                    etag: found.etag,
                    ..done
                });
            }
            // Nothing speaks against the answer but this.
            Err(ObjectError::Denied(_)) => return Ok(done),
            Ok(_) => {}
            Err(error) => return Err(error),
        }
    }
    Err(Echo::missing())
}

async fn send_part(
    target: &Target,
    created: &Created,
    number: u32,
    payload: &Payload,
) -> Result<(DonePart, Echoed), ObjectError> {
    let store = &target.location.store;
    let request = store
        .client()
        .upload_part()
        .bucket(&*target.written_at().bucket)
        .key(&target.written_at().key)
        .upload_id(&*created.upload_id)
        .part_number(part_number(number))
        .set_checksum_crc32(payload.crc.map(crc_header))
        .body(payload.body());
    let request = with_key!(request, target.key())
        .customize()
        .config_override(store.deadline_for_body(payload.size));
    let request = if payload.crc.is_some() {
        request.disable_payload_signing()
    } else {
        request
    };
    let output = match Box::pin(request.send()).await.map_err(failure) {
        Ok(output) => output,
        Err(failure) => return Err(Box::pin(target.part_failed(created, failure)).await),
    };
    let echo = &store.echoes().part;
    let echoed = echo.check(payload.crc, output.checksum_crc32())?;
    let done = DonePart {
        number,
        etag: output.e_tag().unwrap_or_default().to_owned(),
        crc: payload.crc,
        size: payload.size,
    };
    Ok((done, echoed))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[tokio::test]
    async fn bodies_can_be_sent_again() {
        let mut part = Part::new(true);
        for chunk in ["hello ", "wor", "ld"] {
            part.push(Bytes::from_static(chunk.as_bytes()));
        }
        let payload = part.into_payload(Integrity::Crc32);
        assert_eq!(payload.crc, Some(crc32fast::hash(b"hello world")));
        let body = payload.body().into_inner();
        let again = body.try_clone().unwrap();
        for body in [body, again] {
            assert_eq!(body.content_length(), Some(11));
            let whole = ByteStream::new(body).collect().await.unwrap().into_bytes();
            assert_eq!(&whole[..], b"hello world");
        }
    }

    #[test]
    fn signed_payloads_are_in_one_piece() {
        let mut part = Part::new(false);
        part.push(Bytes::from_static(b"ab"));
        part.push(Bytes::from_static(b"c"));
        let payload = part.into_payload(Integrity::Signed);
        assert_eq!(payload.crc, None);
        assert_eq!(payload.body().into_inner().bytes(), Some(b"abc".as_slice()));
        let empty = Part::new(true).into_payload(Integrity::Crc32);
        assert_eq!(empty.crc, Some(0));
        assert_eq!(empty.body().into_inner().bytes(), Some(b"".as_slice()));
    }

    #[test]
    fn a_crc_is_computed_late_where_it_was_not_expected() {
        let mut part = Part::new(false);
        part.push(Bytes::from_static(b"abc"));
        assert_eq!(
            part.into_payload(Integrity::Crc32).crc,
            Some(crc32fast::hash(b"abc"))
        );
    }
}
