//! What a request asks for: `?user=&path=&class=&id=&before=&limit=`.

use serde::Deserialize;

use crate::events::Class;
use crate::server::admin::recent::{EndedAs, Search};

/// The class of all failures, in a search.
pub(super) const FAILED: &str = "failed";

/// The query of a request, as it was sent. Empty fields of a form count as not sent.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Asked {
    #[serde(default)]
    pub(super) user: String,
    #[serde(default)]
    pub(super) path: String,
    #[serde(default)]
    pub(super) class: String,
    #[serde(default)]
    pub(super) id: String,
    #[serde(default)]
    before: String,
    #[serde(default)]
    limit: String,
}

/// A parameter of the query is not one of the values that it may have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum AskedError {
    /// Another class.
    #[error("class must be failed or one of the classes of events, such as ok or client_gone")]
    Class,
    /// Not a number.
    #[error("{0} must be a whole number")]
    Number(&'static str),
    /// A longer text than names have.
    #[error("user, path and id can have at most {LONGEST} bytes")]
    TooLong,
}

/// The longest text that is searched, bytes: as that of a path.
const LONGEST: usize = 1024;

impl Asked {
    /// The search for events.
    ///
    /// # Errors
    /// A parameter is wrong.
    pub(super) fn search(&self) -> Result<Search, AskedError> {
        let class = match self.class.trim() {
            "" => None,
            FAILED => Some(EndedAs::Failed),
            name => {
                let class = Class::ALL.iter().find(|class| class.name() == name);
                Some(EndedAs::Class(*class.ok_or(AskedError::Class)?))
            }
        };
        let longest = self.user.len().max(self.path.len()).max(self.id.len());
        if longest > LONGEST {
            return Err(AskedError::TooLong);
        }
        Ok(Search {
            user: self.user.trim().to_owned(),
            path: self.path.trim().to_owned(),
            class,
            id: self.id.trim().to_owned(),
            before: number("before", &self.before)?,
        })
    }

    /// The number of items that are wanted.
    ///
    /// # Errors
    /// It is not a number.
    pub(super) fn limit(&self, usual: usize, most: usize) -> Result<usize, AskedError> {
        let limit = number("limit", &self.limit)?;
        let limit = limit.map_or(usual, |limit| usize::try_from(limit).unwrap_or(most));
        Ok(limit.min(most))
    }

    /// Whether anything is searched for.
    pub(super) fn narrows(&self) -> bool {
        ![&self.user, &self.path, &self.class, &self.id]
            .iter()
            .all(|text| text.is_empty())
    }
}

fn number(name: &'static str, text: &str) -> Result<Option<u64>, AskedError> {
    match text.trim() {
        "" => Ok(None),
        text => text.parse().map(Some).map_err(|_| AskedError::Number(name)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(query: &[(&str, &str)]) -> Asked {
        let value = |wanted: &str| {
            let found = query.iter().find(|(name, _)| *name == wanted);
            found.map_or(String::new(), |(_, value)| (*value).to_owned())
        };
        Asked {
            user: value("user"),
            path: value("path"),
            class: value("class"),
            id: value("id"),
            before: value("before"),
            limit: value("limit"),
        }
    }

    #[test]
    fn wrong_values_are_refused_and_empty_ones_count_as_none() {
        let search = |query: &[(&str, &str)]| asked(query).search();
        assert!(search(&[("class", ""), ("user", " a ")]).is_ok_and(|s| s.user == "a"));
        let class = search(&[("class", "failed")]).map(|search| search.class);
        assert_eq!(class, Ok(Some(EndedAs::Failed)));
        let class = search(&[("class", "quota")]).map(|search| search.class);
        assert_eq!(class, Ok(Some(EndedAs::Class(Class::Quota))));
        let wrong = search(&[("class", "Quota")]).map(|search| search.class);
        assert_eq!(wrong, Err(AskedError::Class));
        let wrong = search(&[("before", "-1")]).map(|search| search.before);
        assert_eq!(wrong, Err(AskedError::Number("before")));
        assert_eq!(asked(&[]).limit(5, 10), Ok(5));
        assert_eq!(asked(&[("limit", "99")]).limit(5, 10), Ok(10));
        assert!(asked(&[("limit", "x")]).limit(5, 10).is_err());
        assert!(asked(&[("path", "/in")]).narrows() && !asked(&[]).narrows());
    }
}
