//! [`MountAttributes`]: what the objects of a mount are like, as it is configured.
//!
//! The values of tags and metadata are templates. Those of the user are filled in when the
//! configuration is read, the client's address when a session logs in. What the store would refuse
//! is refused when the configuration is read.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::namespace::template::{self, Template};
use crate::object::{
    ContentType, Encryption, MTIME_KEY, ObjectAttributes, TRANSFER_KEY, header_value,
};

/// The most tags of an object.
const MOST_TAGS: usize = 10;

/// The longest name and value of a tag, characters.
const LONGEST_TAG: (usize, usize) = (128, 256);

/// The most user metadata of an object, bytes of names and values.
const MOST_METADATA: usize = 2048;

/// What the server's own metadata take of that: the transfer id, and the client's time.
const OWN_METADATA: usize = TRANSFER_KEY.len() + 64 + MTIME_KEY.len() + 32;

/// The longest address, in the place of `{peer}`.
const LONGEST_PEER: &str = "2001:0db8:1111:2222:3333:4444:5555:6666";

/// What the objects of a mount are like. The fields are those of [`ObjectAttributes`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MountAttributes {
    /// Content-Type.
    pub content_type: Option<ContentType>,
    /// The storage class.
    pub storage_class: Option<String>,
    /// How objects are encrypted.
    pub encryption: Option<Encryption>,
    /// The name of a canned ACL.
    pub acl: Option<String>,
    /// Tags: name → template.
    pub tags: BTreeMap<String, Template>,
    /// User metadata: name → template.
    pub metadata: BTreeMap<String, Template>,
    /// The size of the first parts of an upload, bytes.
    pub part_size: Option<u64>,
    /// Parts of one upload in flight at once.
    pub upload_parallel: Option<usize>,
}

/// What S3 does not take.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AttributeError {
    /// More tags than an object can have.
    #[error("there are more than {MOST_TAGS} tags")]
    TooManyTags,
    /// The name of a tag.
    #[error("{0:?} can't be the name of a tag")]
    TagName(String),
    /// The value of a tag.
    #[error("the tag {0:?} can't have the value {1:?}")]
    TagValue(String, String),
    /// The name of metadata.
    #[error("{0:?} can't be the name of user metadata")]
    MetadataName(String),
    /// Metadata that the server writes itself.
    #[error("the server itself writes the metadata {0:?}")]
    OwnMetadata(String),
    /// More metadata than an object can have.
    #[error("the metadata have {0} bytes, with those of the server")]
    TooMuchMetadata(usize),
}

impl MountAttributes {
    /// Whether a template has a placeholder for a value of the user.
    pub fn depends_on_user(&self) -> bool {
        let templates = self.tags.values().chain(self.metadata.values());
        let mut names = templates.flat_map(Template::placeholders);
        names.any(|name| name != template::PEER)
    }

    /// Puts the values of a user into the templates.
    ///
    /// # Errors
    /// `tags` or `metadata`, and the name of a placeholder there that has no value.
    pub fn fill<'v>(
        &self,
        value: impl Fn(&str) -> Option<&'v str>,
    ) -> Result<MountAttributes, (&'static str, String)> {
        let fill = |key, templates: &BTreeMap<String, Template>| {
            let filled = templates.iter().map(|(name, template)| {
                let template = template.fill(&value);
                Ok((name.clone(), template.map_err(|missing| (key, missing))?))
            });
            filled.collect::<Result<BTreeMap<_, _>, _>>()
        };
        Ok(MountAttributes {
            tags: fill("tags", &self.tags)?,
            metadata: fill("metadata", &self.metadata)?,
            ..self.clone()
        })
    }

    /// Checks the names, which do not depend on the user.
    ///
    /// # Errors
    /// The first that S3 does not take.
    pub fn check_names(&self) -> Result<(), AttributeError> {
        if self.tags.len() > MOST_TAGS {
            return Err(AttributeError::TooManyTags);
        }
        let wrong = self.tags.keys().find(|name| {
            let length = name.chars().count();
            !(1..=LONGEST_TAG.0).contains(&length) || !is_tag(name) || name.starts_with("aws:")
        });
        if let Some(name) = wrong {
            return Err(AttributeError::TagName(name.clone()));
        }
        for name in self.metadata.keys() {
            let right = |b: u8| {
                b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_' | b'.')
            };
            if name.is_empty() || !name.bytes().all(right) {
                return Err(AttributeError::MetadataName(name.clone()));
            }
            if name == TRANSFER_KEY || name == MTIME_KEY {
                return Err(AttributeError::OwnMetadata(name.clone()));
            }
        }
        Ok(())
    }

    /// Checks the values, once those of the user are filled in.
    ///
    /// # Errors
    /// The first that S3 does not take.
    pub fn check_values(&self) -> Result<(), AttributeError> {
        for (name, template) in &self.tags {
            let value = template.text(LONGEST_PEER);
            if value.chars().count() > LONGEST_TAG.1 || !is_tag(&value) {
                return Err(AttributeError::TagValue(name.clone(), value));
            }
        }
        let metadata = self.metadata_for(LONGEST_PEER);
        let length: usize = metadata.iter().map(|(name, v)| name.len() + v.len()).sum();
        let length = length + OWN_METADATA;
        match length > MOST_METADATA {
            true => Err(AttributeError::TooMuchMetadata(length)),
            false => Ok(()),
        }
    }

    /// What the objects are like that a client at this address writes. `None`: as the store makes
    /// them.
    pub fn for_peer(&self, peer: &str) -> Option<Arc<ObjectAttributes>> {
        if *self == MountAttributes::default() {
            return None;
        }
        let tags = self.tags.iter();
        Some(Arc::new(ObjectAttributes {
            content_type: self.content_type.clone(),
            storage_class: self.storage_class.clone(),
            encryption: self.encryption.clone(),
            acl: self.acl.clone(),
            tags: tags
                .map(|(name, template)| (name.clone(), template.text(peer)))
                .collect(),
            metadata: self.metadata_for(peer),
            part_size: self.part_size,
            upload_parallel: self.upload_parallel,
        }))
    }

    /// As they are sent. Those that are empty are left out, since few stores keep them.
    fn metadata_for(&self, peer: &str) -> BTreeMap<String, String> {
        let metadata = self.metadata.iter();
        metadata
            .map(|(name, template)| (name.clone(), header_value(&template.text(peer))))
            .filter(|(_, value)| !value.is_empty())
            .collect()
    }
}

/// Whether a text has only the characters that S3 takes in tags.
fn is_tag(text: &str) -> bool {
    text.chars().all(|c| {
        c.is_alphanumeric() || matches!(c, ' ' | '+' | '-' | '=' | '.' | '_' | ':' | '/' | '@')
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn map(name: &str, template: &str) -> BTreeMap<String, Template> {
        [(name.to_owned(), Template::parse(template).unwrap())].into()
    }

    fn tags(name: &str, template: &str) -> MountAttributes {
        MountAttributes {
            tags: map(name, template),
            ..MountAttributes::default()
        }
    }

    fn metadata(name: &str, template: &str) -> MountAttributes {
        MountAttributes {
            metadata: map(name, template),
            ..MountAttributes::default()
        }
    }

    #[test]
    fn names_that_s3_takes() {
        for right in [
            tags("customer", ""),
            tags("Größe +-=._:/@", ""),
            tags(&"ü".repeat(128), ""),
            metadata("ftp-user", ""),
            metadata("a_b.c", ""),
        ] {
            assert_eq!(right.check_names(), Ok(()), "{right:?}");
        }
        for wrong in [
            tags("", ""),
            tags("aws:x", ""),
            tags("a&b", ""),
            tags(&"a".repeat(129), ""),
            metadata("", ""),
            metadata("Ftp-User", ""),
            metadata("a b", ""),
            metadata("ü", ""),
            metadata("mtime", ""),
            metadata(TRANSFER_KEY, ""),
        ] {
            assert!(wrong.check_names().is_err(), "{wrong:?}");
        }
        let mut many = MountAttributes::default();
        for number in 0..11 {
            assert_eq!(many.check_names(), Ok(()));
            many.tags.insert(number.to_string(), Template::default());
        }
        assert_eq!(many.check_names(), Err(AttributeError::TooManyTags));
    }

    #[test]
    fn values_that_s3_takes() {
        let long = "a".repeat(256);
        for right in [
            tags("a", ""),
            tags("a", "{peer}"),
            tags("a", &long),
            metadata("a", "Jürg\r\n{peer}"),
            metadata("a", &"a".repeat(1800)),
        ] {
            assert_eq!(right.check_values(), Ok(()), "{right:?}");
        }
        for wrong in [
            tags("a", "a&b"),
            tags("a", "a\nb"),
            tags("a", &format!("{long}a")),
            tags("a", &format!("{}{{peer}}", &long[..220])),
            metadata("a", &"a".repeat(2000)),
            // It is longer as it is sent.
            metadata("a", &"ü".repeat(900)),
        ] {
            assert!(wrong.check_values().is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn what_is_left_out_is_left_to_the_store() {
        assert!(MountAttributes::default().for_peer("192.0.2.1").is_none());
        let attributes = metadata("ftp-peer", "{peer}")
            .for_peer("192.0.2.1")
            .unwrap();
        assert_eq!(attributes.metadata["ftp-peer"], "192.0.2.1");
        let attributes = metadata("a", "").for_peer("192.0.2.1").unwrap();
        assert!(attributes.metadata.is_empty());
    }
}
