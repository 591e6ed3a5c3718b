//! The bytes of objects and parts.
//!
//! A request's body becomes an immutable [`Blob`], in memory or in a file. An object's [`Content`]
//! is a list of slices of blobs: completing a multipart upload or copying an object moves no byte
//! but shares blobs. The last holder of a blob removes its file, so a running download keeps its
//! bytes alive.

use std::collections::VecDeque;
use std::io::{self, SeekFrom};
use std::ops::Range;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use futures::stream::BoxStream;
use futures::{Stream, StreamExt};
use s3s::StdError;
use s3s::stream::{ByteStream, RemainingLength};
use tokio::io::{AsyncReadExt, AsyncSeekExt, AsyncWriteExt};

use super::record::StoredFile;

/// Bytes of one read of a file.
const READ_SIZE: u64 = 256 * 1024;

/// Immutable bytes.
#[derive(Debug)]
pub(crate) struct Blob {
    length: u64,
    place: Place,
}

#[derive(Debug)]
enum Place {
    Memory(Bytes),
    File(StoredFile),
}

impl Blob {
    /// A blob whose file exists.
    pub(crate) fn stored(file: StoredFile, length: u64) -> Blob {
        Blob {
            length,
            place: Place::File(file),
        }
    }

    /// A blob in memory.
    pub(crate) fn memory(bytes: Bytes) -> Blob {
        Blob {
            length: bytes.len() as u64,
            place: Place::Memory(bytes),
        }
    }

    pub(crate) fn length(&self) -> u64 {
        self.length
    }

    /// The name of the file in the directory of blobs; `None` in memory.
    pub(crate) fn file_name(&self) -> Option<&str> {
        match &self.place {
            Place::Memory(_) => None,
            Place::File(file) => file.path().file_name()?.to_str(),
        }
    }
}

/// A blob that is being written. If dropped before [`finish`](BlobWriter::finish), it removes its
/// file.
pub(crate) enum BlobWriter {
    /// Collected in memory.
    Memory(BytesMut),
    /// Streamed into a file.
    File {
        /// The file.
        file: Box<tokio::io::BufWriter<tokio::fs::File>>,
        /// Removes the file if the writer is dropped.
        stored: StoredFile,
        /// Bytes so far.
        length: u64,
    },
}

impl BlobWriter {
    /// Writes into a new file.
    pub(crate) async fn create(stored: StoredFile) -> io::Result<BlobWriter> {
        let file = tokio::fs::File::create_new(stored.path()).await?;
        Ok(BlobWriter::File {
            file: Box::new(tokio::io::BufWriter::with_capacity(128 * 1024, file)),
            stored,
            length: 0,
        })
    }

    pub(crate) async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            BlobWriter::Memory(buffer) => buffer.extend_from_slice(bytes),
            BlobWriter::File { file, length, .. } => {
                file.write_all(bytes).await?;
                *length += bytes.len() as u64;
            }
        }
        Ok(())
    }

    pub(crate) async fn finish(self) -> io::Result<Blob> {
        match self {
            BlobWriter::Memory(buffer) => Ok(Blob::memory(buffer.freeze())),
            BlobWriter::File {
                mut file,
                stored,
                length,
            } => {
                file.flush().await?;
                Ok(Blob::stored(stored, length))
            }
        }
    }
}

/// Slices of blobs, in sequence.
#[derive(Debug, Clone, Default)]
pub(crate) struct Content {
    segments: Vec<Segment>,
    length: u64,
}

/// A slice of a blob.
#[derive(Debug, Clone)]
pub(crate) struct Segment {
    pub(crate) blob: Arc<Blob>,
    pub(crate) range: Range<u64>,
}

impl From<Arc<Blob>> for Content {
    fn from(blob: Arc<Blob>) -> Content {
        let range = 0..blob.length();
        Content::from_segments([Segment { blob, range }])
    }
}

impl Content {
    pub(crate) fn from_segments(segments: impl IntoIterator<Item = Segment>) -> Content {
        let segments: Vec<Segment> = segments
            .into_iter()
            .filter(|segment| !segment.range.is_empty())
            .collect();
        let length = segments.iter().map(Segment::length).sum();
        Content { segments, length }
    }

    pub(crate) fn length(&self) -> u64 {
        self.length
    }

    pub(crate) fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// The bytes of `range`, which must end within the content.
    pub(crate) fn slice(&self, range: Range<u64>) -> Content {
        let mut start = 0;
        let mut slices = Vec::new();
        for segment in &self.segments {
            let end = start + segment.length();
            let from = range.start.clamp(start, end) - start;
            let to = range.end.clamp(start, end) - start;
            if from < to {
                slices.push(Segment {
                    blob: Arc::clone(&segment.blob),
                    range: segment.range.start + from..segment.range.start + to,
                });
            }
            start = end;
        }
        Content::from_segments(slices)
    }

    /// The bytes in pieces, read on demand.
    pub(crate) fn stream(&self) -> ContentStream {
        let reader = Reader {
            segments: self.segments.iter().cloned().collect(),
            open: None,
        };
        let pieces = futures::stream::unfold(reader, |mut reader| async move {
            let piece = reader.next().await?;
            Some((piece, reader))
        });
        ContentStream {
            pieces: Mutex::new(pieces.boxed()),
            remaining: self.length,
        }
    }

    /// All bytes.
    pub(crate) async fn read(&self) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let mut pieces = self.stream();
        while let Some(piece) = pieces.next().await {
            bytes.extend_from_slice(&piece.map_err(io::Error::other)?);
        }
        Ok(bytes)
    }
}

impl Segment {
    pub(crate) fn length(&self) -> u64 {
        self.range.end - self.range.start
    }
}

/// Reads segments in sequence.
struct Reader {
    segments: VecDeque<Segment>,
    open: Option<(tokio::fs::File, Segment)>,
}

impl Reader {
    async fn next(&mut self) -> Option<io::Result<Bytes>> {
        if self.open.is_none() {
            let segment = self.segments.pop_front()?;
            match &segment.blob.place {
                Place::Memory(bytes) => return Some(slice(bytes, &segment.range)),
                Place::File(file) => match open_at(file, segment.range.start).await {
                    Ok(file) => self.open = Some((file, segment)),
                    Err(error) => return Some(Err(error)),
                },
            }
        }
        let (mut file, mut segment) = self.open.take()?;
        match read_some(&mut file, &mut segment.range).await {
            Ok(bytes) => {
                if !segment.range.is_empty() {
                    self.open = Some((file, segment));
                }
                Some(Ok(bytes))
            }
            Err(error) => Some(Err(error)),
        }
    }
}

fn slice(bytes: &Bytes, range: &Range<u64>) -> io::Result<Bytes> {
    let bounds = usize::try_from(range.start).and_then(|a| Ok(a..usize::try_from(range.end)?));
    Ok(bytes.slice(bounds.map_err(io::Error::other)?))
}

async fn open_at(stored: &StoredFile, offset: u64) -> io::Result<tokio::fs::File> {
    let mut file = tokio::fs::File::open(stored.path()).await?;
    file.seek(SeekFrom::Start(offset)).await?;
    Ok(file)
}

async fn read_some(file: &mut tokio::fs::File, range: &mut Range<u64>) -> io::Result<Bytes> {
    let wanted = (range.end - range.start).min(READ_SIZE);
    let mut buffer = BytesMut::with_capacity(usize::try_from(wanted).map_err(io::Error::other)?);
    let read = file.take(wanted).read_buf(&mut buffer).await?;
    if read == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    range.start += read as u64;
    Ok(buffer.freeze())
}

/// The bytes of a [`Content`] as the body of an answer, with a known length.
pub(crate) struct ContentStream {
    /// Never contended: it makes the stream `Sync`, which s3s needs.
    pieces: Mutex<BoxStream<'static, io::Result<Bytes>>>,
    remaining: u64,
}

impl Stream for ContentStream {
    type Item = Result<Bytes, StdError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let pieces = self
            .pieces
            .get_mut()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        let piece = std::task::ready!(pieces.poll_next_unpin(context));
        if let Some(Ok(bytes)) = &piece {
            self.remaining = self.remaining.saturating_sub(bytes.len() as u64);
        }
        Poll::Ready(piece.map(|piece| piece.map_err(StdError::from)))
    }
}

impl ByteStream for ContentStream {
    fn remaining_length(&self) -> RemainingLength {
        usize::try_from(self.remaining)
            .map_or_else(|_| RemainingLength::unknown(), RemainingLength::new_exact)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;
    use std::sync::atomic::AtomicBool;

    async fn file_blob(directory: &std::path::Path, name: &str, bytes: &[u8]) -> Arc<Blob> {
        let stored = StoredFile::new(directory.join(name), Arc::new(AtomicBool::new(false)));
        let mut writer = BlobWriter::create(stored).await.unwrap();
        writer.write(bytes).await.unwrap();
        Arc::new(writer.finish().await.unwrap())
    }

    #[tokio::test]
    async fn every_slice_reads_what_a_vector_would_give() {
        let directory = tempfile::tempdir().unwrap();
        let content = Content::from_segments([
            Segment {
                blob: Arc::new(Blob::memory(Bytes::from_static(b"xxabcxx"))),
                range: 2..5,
            },
            Segment {
                blob: file_blob(directory.path(), "1.blob", b"--defg").await,
                range: 2..6,
            },
            Segment {
                blob: Arc::new(Blob::memory(Bytes::from_static(b"hi"))),
                range: 0..2,
            },
        ]);
        let whole = b"abcdefghi";
        for start in 0..=whole.len() {
            for end in start..=whole.len() {
                let slice = content.slice(start as u64..end as u64);
                assert_eq!(slice.length(), (end - start) as u64);
                assert_eq!(slice.read().await.unwrap(), &whole[start..end]);
            }
        }
    }

    #[tokio::test]
    async fn a_file_larger_than_a_read_comes_whole_and_goes_with_its_last_holder() {
        let directory = tempfile::tempdir().unwrap();
        let bytes: Vec<u8> = (0..700_000u32).map(|n| (n % 251) as u8).collect();
        let blob = file_blob(directory.path(), "1.blob", &bytes).await;
        let content = Content::from(blob);
        let mut stream = content.stream();
        drop(content);
        let mut read = Vec::new();
        while let Some(piece) = stream.next().await {
            read.extend_from_slice(&piece.unwrap());
        }
        assert_eq!(read, bytes);
        drop(stream);
        assert!(!directory.path().join("1.blob").exists());
    }

    #[tokio::test]
    async fn an_unfinished_blob_leaves_no_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("1.blob");
        let stored = StoredFile::new(path.clone(), Arc::new(AtomicBool::new(false)));
        let writer = BlobWriter::create(stored).await.unwrap();
        assert!(path.exists());
        drop(writer);
        assert!(!path.exists());
    }
}
