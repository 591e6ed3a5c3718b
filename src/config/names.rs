//! Reads which names files may have in a mount, and how names are changed.

use std::collections::BTreeMap;

use crate::config::section::{Field, Section};
use crate::config::values;
use crate::namespace::names::{NameCase, NameChange, NameGlob, NameRules};

/// Reads the keys of a mount that are about names.
pub(super) fn rules(section: &Section<'_>) -> NameRules {
    NameRules {
        allow: patterns(section.field("allow_names")),
        deny: patterns(section.field("deny_names")),
        change: change(section.section("names")),
    }
}

fn patterns(field: Option<Field<'_>>) -> Vec<NameGlob> {
    let allowed = "a list of patterns for names, such as [\"*.csv\", \"READY\"]";
    let items = field.and_then(|field| {
        let items = field.items(allowed)?;
        match items.is_empty() {
            true => field.wrong("is empty", allowed),
            false => Some(items),
        }
    });
    let pattern = |item: &Field<'_>| {
        let text = values::line(item)?;
        match text.contains('/') {
            true => item.wrong(
                format!("{text:?} has a \"/\""),
                "a pattern for the last element of paths",
            ),
            false => Some(NameGlob::new(&text)),
        }
    };
    items
        .unwrap_or_default()
        .iter()
        .filter_map(pattern)
        .collect()
}

fn change(section: Section<'_>) -> NameChange {
    let cases = [NameCase::Keep, NameCase::Lower, NameCase::Upper];
    let case = section.word_or_default("case", &cases);
    let entries = section
        .field("replace")
        .and_then(|field| field.entries("a table such as { \" \" = \"_\" }"));
    section.finish();
    let entries = entries.unwrap_or_default();
    let replaced =
        |(from, field): &(&str, Field<'_>)| Some((character(from, field)?, values::line(field)?));
    let replace: BTreeMap<char, String> = entries.iter().filter_map(replaced).collect();
    let change = NameChange { case, replace };
    for (from, field) in &entries {
        stays(&change, from, field);
    }
    change
}

/// The one character that is replaced.
fn character(from: &str, field: &Field<'_>) -> Option<char> {
    let mut characters = from.chars();
    match (characters.next(), characters.next()) {
        (Some(one), None) if one != '/' && !one.is_control() => Some(one),
        _ => field.wrong(
            format!("{from:?} is not a character of a name"),
            "one character, neither \"/\" nor a control character",
        ),
    }
}

/// The name that a reply shows must be a name of the same file, so what replaces a character must
/// not be changed itself.
fn stays(change: &NameChange, from: &str, field: &Field<'_>) {
    let case_only = NameChange {
        case: change.case,
        replace: BTreeMap::new(),
    };
    let Some(to) = from
        .chars()
        .next()
        .and_then(|from| change.replace.get(&from))
    else {
        return;
    };
    if case_only.apply(from) != from {
        field.wrong::<()>(
            format!("{from:?} never occurs, since the case of letters is changed first"),
            "the character in the case that `case` gives it",
        );
    } else if to.contains('/') || change.apply(to) != to.as_str() {
        field.wrong::<()>(
            format!("{to:?} can't stand in a changed name"),
            "a text without \"/\", without a replaced character, and in the case that `case` gives it",
        );
    }
}
