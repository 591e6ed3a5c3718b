//! Bodies that are cut, reset, stalled or corrupted on their way.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use futures::stream::BoxStream;
use futures::{Stream, StreamExt};
use s3s::{Body, StdError};
use tokio_util::sync::CancellationToken;

use crate::Next;

/// What happens to a body on its way.
#[derive(Debug, Clone, Copy)]
pub(super) enum Shape {
    Cut(u64),
    Reset(u64),
    Stall(u64),
    Corrupt,
}

/// Applies a shape to a body. Its headers, and so its stated length, stay the same.
pub(super) fn shaped(body: Body, shape: Shape, next: Next, released: CancellationToken) -> Body {
    let limit = match shape {
        Shape::Cut(bytes) | Shape::Reset(bytes) | Shape::Stall(bytes) => bytes,
        Shape::Corrupt => 0,
    };
    let state = Shaped {
        body,
        left: limit,
        rest: Bytes::new(),
        at_limit: false,
    };
    let pieces = futures::stream::unfold(Some(state), move |state| {
        let (next, released) = (next.clone(), released.clone());
        async move {
            let mut state = state?;
            if !state.at_limit {
                if let Some(piece) = state.before_limit().await {
                    return Some((piece, Some(state)));
                }
                state.at_limit = true;
                match shape {
                    // Sends what came before the limit first.
                    Shape::Cut(_) => {
                        flushed().await;
                        return Some((Err("cut on cue".into()), None));
                    }
                    Shape::Reset(_) => {
                        flushed().await;
                        next.reset_connection();
                        std::future::pending::<()>().await;
                    }
                    Shape::Stall(_) => {
                        flushed().await;
                        released.cancelled().await;
                    }
                    Shape::Corrupt => {
                        let piece = state.after_limit().await?;
                        return Some((piece.map(with_first_byte_wrong), Some(state)));
                    }
                }
            }
            let piece = state.after_limit().await?;
            Some((piece, Some(state)))
        }
    });
    Body::http_body_unsync(StreamBody::of(pieces))
}

struct Shaped {
    body: Body,
    /// Bytes to go until the limit.
    left: u64,
    /// The bytes of a piece after the limit.
    rest: Bytes,
    at_limit: bool,
}

impl Shaped {
    /// The next piece before the limit; `None` there, or at the end of the body.
    async fn before_limit(&mut self) -> Option<Result<Bytes, StdError>> {
        if self.left == 0 {
            return None;
        }
        let mut piece = match self.body.next().await? {
            Ok(piece) => piece,
            Err(error) => return Some(Err(error)),
        };
        if piece.len() as u64 > self.left {
            self.rest = piece.split_off(usize::try_from(self.left).unwrap());
        }
        self.left -= piece.len() as u64;
        Some(Ok(piece))
    }

    async fn after_limit(&mut self) -> Option<Result<Bytes, StdError>> {
        if !self.rest.is_empty() {
            return Some(Ok(std::mem::take(&mut self.rest)));
        }
        self.body.next().await
    }
}

fn with_first_byte_wrong(piece: Bytes) -> Bytes {
    let mut piece = BytesMut::from(piece);
    if let Some(first) = piece.first_mut() {
        *first ^= 1;
    }
    piece.freeze()
}

/// Yields a few times, so that hyper writes what it has.
async fn flushed() {
    for _ in 0..8 {
        tokio::task::yield_now().await;
    }
}

/// A stream of pieces as a body of unknown length.
pub(super) struct StreamBody(BoxStream<'static, Result<Bytes, StdError>>);

impl StreamBody {
    pub(super) fn of(
        pieces: impl Stream<Item = Result<Bytes, StdError>> + Send + 'static,
    ) -> StreamBody {
        StreamBody(pieces.boxed())
    }
}

impl http_body::Body for StreamBody {
    type Data = Bytes;
    type Error = StdError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, StdError>>> {
        let piece = std::task::ready!(Pin::new(&mut self.0).poll_next(context));
        Poll::Ready(piece.map(|piece| piece.map(http_body::Frame::data)))
    }
}
