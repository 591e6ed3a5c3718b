//! The memory of an event, for what keeps events: each such place has a limit of bytes, since clients
//! choose the names.

use crate::events::Event;

/// What one text costs beyond its bytes.
const TEXT: usize = 16;

impl Event {
    /// The memory that it takes, bytes. What it shares with others of its session counts for each.
    pub fn memory(&self) -> usize {
        let texts = [
            &self.path,
            &self.to,
            &self.mount,
            &self.store,
            &self.key,
            &self.etag,
            &self.version_id,
            &self.reason,
            &self.detail,
        ];
        let texts = texts.into_iter().map(Option::as_deref);
        let session = self.session.as_deref();
        let shared = [
            self.user.as_deref(),
            self.id.as_deref(),
            self.bucket.as_deref(),
            session.map(|session| &*session.session),
            session.and_then(|session| session.user.as_deref()),
            session.and_then(|session| session.client.as_deref()),
            session.and_then(|session| session.host.as_deref()),
        ];
        let texts = texts.chain(shared).flatten().map(|text| text.len() + TEXT);
        let own = size_of::<Event>() + session.map_or(0, size_of_val);
        own + texts.sum::<usize>()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use crate::events::{Event, Kind, Level, SessionFacts};

    /// A text that is left out would let what keeps events grow beyond its limit.
    #[test]
    fn each_text_of_an_event_counts() {
        let text = |bytes: usize| "x".repeat(bytes);
        let full = |bytes: usize| {
            let mut event = Event::new(Kind::Transfer, Level::Info);
            event.session = Some(Arc::new(SessionFacts {
                session: text(bytes).into(),
                user: Some(text(bytes).into()),
                peer: ([192, 0, 2, 1], 5000).into(),
                client: Some(text(bytes).into()),
                tls: None,
                host: Some(text(bytes).into()),
            }));
            event.user = Some(text(bytes).into());
            event.id = Some(text(bytes).into());
            event.bucket = Some(text(bytes).into());
            for field in [
                &mut event.path,
                &mut event.to,
                &mut event.mount,
                &mut event.store,
                &mut event.key,
                &mut event.etag,
                &mut event.version_id,
                &mut event.reason,
                &mut event.detail,
            ] {
                *field = Some(text(bytes).into());
            }
            event.memory()
        };
        assert_eq!(full(1000) - full(0), 16 * 1000);
        let empty = Event::new(Kind::Transfer, Level::Info).memory();
        assert!(empty >= size_of::<Event>(), "{empty}");
    }
}
