//! Keys of hooks.

use crate::config::schema::entry::{NONE, key, table};
use crate::config::schema::{Fallback, Kind, TableSchema};
use crate::hooks::options::EventChoice;
use Fallback::{Required, Text, Value};
use Kind::{HookUrl, List, Number, Secret, Time, Word};

/// What becomes of an upload if no answer comes.
const ON_FAILURE: Kind = Word(&["open", "closed"]);

table!(
    BEFORE_PUBLISH,
    [
        key(
            "url",
            HookUrl,
            Required,
            "an http or https URL. It gets a POST for each upload, and must answer 200 with `{\"allow\": true}` or `{\"allow\": false, \"reason\": \"…\"}`",
        ),
        key(
            "timeout",
            Time,
            Value("\"15s\""),
            "for the whole call, from the connection to the last byte of the answer",
        ),
        key(
            "on_failure",
            ON_FAILURE,
            Value("\"closed\""),
            "what becomes of an upload if no such answer comes. `open`: it is published. `closed`: it is kept as an interrupted upload, and the client gets 451",
        ),
        key(
            "secret",
            Secret,
            NONE,
            "signs the calls, by [Standard Webhooks](../how-to/hooks.md#the-signature)",
        ),
    ]
);

const CHOICES: usize = EventChoice::ALL.len();

/// The words of `on`.
const ON: Kind = Word(&{
    let mut words = [""; CHOICES];
    let mut index = 0;
    while index < CHOICES {
        words[index] = EventChoice::ALL[index].0;
        index += 1;
    }
    words
});

/// The words of `classes`.
const CLASSES: Kind = Word(&[
    "ok",
    "permission",
    "not_found",
    "exists",
    "invalid",
    "busy",
    "client_gone",
    "client_stalled",
    "client_aborted",
    "no_data_connection",
    "store_denied",
    "store_credentials",
    "store_unreachable",
    "store_error",
    "too_large",
    "quota",
    "shutdown",
    "superseded",
]);

table!(
    EVENT_HOOK,
    [
        key(
            "url",
            HookUrl,
            Required,
            "an http or https URL. It gets a POST of [CloudEvents JSON](../how-to/hooks.md#send-events) for each event",
        ),
        key(
            "on",
            List(&ON, 1),
            Text("all events but those of level debug"),
            "which events. `upload` and `download`: a file that was transferred as asked. `failure`: a transfer, a listing or a command that has failed or was refused. The other words are kinds of events",
        ),
        key(
            "classes",
            List(&CLASSES, 1),
            Text("all"),
            "only events of these classes. An event without a class is left out then",
        ),
        key("timeout", Time, Value("\"10s\""), "for one attempt"),
        key(
            "retry_for",
            Time,
            Value("\"1h\""),
            "an event that is older than this is not tried again: it is lost",
        ),
        key(
            "queue",
            Number(1, 1_000_000),
            Value("10000"),
            "the most events that wait. A further one takes the place of the oldest, which is lost. An event takes about 1 KiB of memory, more with long names: the queues of all hooks hold at most 8 MiB together, each an equal share",
        ),
        key(
            "secret",
            Secret,
            NONE,
            "signs the calls, by [Standard Webhooks](../how-to/hooks.md#the-signature)",
        ),
    ]
);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::Class;

    #[test]
    fn the_words_of_classes_are_the_classes() {
        let names: Vec<&str> = Class::ALL.iter().map(|class| class.name()).collect();
        let Kind::Word(words) = CLASSES else {
            panic!("classes are words");
        };
        assert_eq!(words, names);
    }
}
