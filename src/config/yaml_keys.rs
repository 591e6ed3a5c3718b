//! What the YAML parser does to the keys of a document without a word, found before it does.
//!
//! A plain scalar may be a number: the user `0123` would become the user `123`, and `0x1F` the user
//! `31`. Neither is what was meant, so such a key has to be quoted. A key that is there twice is
//! found here too, because the parser's own error names only the place.

use std::collections::HashSet;

use yaml_rust2::Yaml;
use yaml_rust2::parser::{Event, MarkedEventReceiver, Parser};
use yaml_rust2::scanner::{Marker, TScalarStyle};

use crate::config::report::{Report, Source};

/// Reports each key that is not read as it is written, and each that is there twice. A syntax error
/// ends the search; the parser reports it.
pub(super) fn check(text: &str, source: &Source, report: &Report) {
    let mut keys = Keys {
        open: Vec::new(),
        source,
        report,
    };
    let _reported_by_the_parser = Parser::new_from_str(text).load(&mut keys, true);
}

struct Keys<'a> {
    /// The mappings and sequences that the current event is in, the innermost last.
    open: Vec<Collection>,
    source: &'a Source,
    report: &'a Report,
}

enum Collection {
    Mapping { keys: HashSet<String>, next: Next },
    Sequence,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Next {
    Key,
    Value,
}

impl Keys<'_> {
    /// A node begins or, if it is a scalar, is there. Gives the keys of its mapping if it is one of
    /// them.
    fn node(&mut self) -> Option<&mut HashSet<String>> {
        match self.open.last_mut() {
            Some(Collection::Mapping { keys, next }) => {
                let is_key = *next == Next::Key;
                *next = match is_key {
                    true => Next::Value,
                    false => Next::Key,
                };
                is_key.then_some(keys)
            }
            Some(Collection::Sequence) | None => None,
        }
    }

    fn key(&mut self, text: &str, style: TScalarStyle, at: Marker) {
        let Some(keys) = self.node() else {
            return;
        };
        let first = keys.insert(text.to_owned());
        let at = format!("line {}, column {}", at.line(), at.col() + 1);
        if !first {
            let problem = format!("{at}: duplicate key");
            self.report
                .push(self.source, text, problem, "each key once");
        }
        let read_as = match Yaml::from_str(text) {
            Yaml::Integer(number) if number.to_string() != text => number.to_string(),
            Yaml::Null => "nothing".to_owned(),
            _ => return,
        };
        if style == TScalarStyle::Plain {
            let problem = format!("{at}: YAML reads this name as {read_as}");
            let allowed = format!("the name in quotes: \"{text}\"");
            self.report.push(self.source, text, problem, allowed);
        }
    }
}

impl MarkedEventReceiver for Keys<'_> {
    fn on_event(&mut self, event: Event, at: Marker) {
        match event {
            Event::Scalar(text, style, ..) => self.key(&text, style, at),
            Event::Alias(_) => {
                self.node();
            }
            Event::MappingStart(..) => {
                self.node();
                self.open.push(Collection::Mapping {
                    keys: HashSet::new(),
                    next: Next::Key,
                });
            }
            Event::SequenceStart(..) => {
                self.node();
                self.open.push(Collection::Sequence);
            }
            Event::MappingEnd | Event::SequenceEnd => {
                self.open.pop();
            }
            _ => {}
        }
    }
}
