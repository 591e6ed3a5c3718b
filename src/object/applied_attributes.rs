//! What the attributes of a mount make of an object: laid over those that it has, and what a location
//! is to uploads.

use std::sync::Arc;

use crate::object::attributes::{CustomerKey, Encryption, ObjectAttributes};
use crate::object::head::Attributes;
use crate::object::keys;
use crate::object::location::Location;
use crate::object::part_sizes::PartSizes;

/// `aws:kms:dsse`: two layers.
const DSSE: &str = "aws:kms:dsse";

impl Attributes {
    /// These, with what the mount of an object says.
    pub(in crate::object) fn of_object(self, object: &Location) -> Attributes {
        let Some(mount) = object.attributes.as_deref() else {
            return Attributes {
                customer_key_md5: None,
                ..self
            };
        };
        let content_type = mount.content_type.as_ref().map(|kind| kind.of(&object.key));
        Attributes {
            content_type: content_type.or(self.content_type.clone()),
            storage_class: mount.storage_class.clone().or(self.storage_class.clone()),
            ..self.named(mount).encrypted(mount)
        }
    }

    /// These, with what the mount of a directory says of its marker.
    pub(in crate::object) fn of_marker(self, directory: &Location) -> Attributes {
        let none = ObjectAttributes::default();
        let mount = directory.attributes.as_deref().unwrap_or(&none);
        Attributes {
            storage_class: None,
            ..self.named(mount).encrypted(mount)
        }
    }

    /// The attributes of a piece of a tail.
    pub(in crate::object) fn of_tail(at: &Location) -> Attributes {
        match at.attributes.as_deref() {
            Some(mount) => Attributes::default().encrypted(mount),
            None => Attributes::default(),
        }
    }

    /// The attributes of a record.
    pub(in crate::object) fn of_record(at: &Location) -> Attributes {
        Attributes {
            customer_key_md5: None,
            ..Attributes::of_tail(at)
        }
    }

    /// The attributes of the file at a staged key that becomes an object with these.
    pub(in crate::object) fn of_staged(&self) -> Attributes {
        Attributes {
            storage_class: None,
            website_redirect_location: None,
            acl: None,
            tagging: None,
            ..self.clone()
        }
    }

    /// ACL, tags and metadata.
    fn named(mut self, mount: &ObjectAttributes) -> Attributes {
        self.metadata.extend(mount.metadata.clone());
        let tags = mount.tags.iter();
        let tagging = keys::tagging(tags.map(|(name, value)| (name.as_str(), value.as_str())));
        Attributes {
            acl: mount.acl.clone().or(self.acl),
            tagging: Some(tagging)
                .filter(|text| !text.is_empty())
                .or(self.tagging),
            ..self
        }
    }

    fn encrypted(self, mount: &ObjectAttributes) -> Attributes {
        let customer_key_md5 = None;
        match &mount.encryption {
            None => Attributes {
                customer_key_md5,
                ..self
            },
            Some(Encryption::Store) => Attributes {
                server_side_encryption: Some("AES256".to_owned()),
                kms_key_id: None,
                bucket_key_enabled: None,
                customer_key_md5,
                ..self
            },
            Some(Encryption::Kms {
                dual_layer,
                key,
                bucket_key,
            }) => Attributes {
                server_side_encryption: Some(if *dual_layer { DSSE } else { "aws:kms" }.to_owned()),
                kms_key_id: key.clone(),
                bucket_key_enabled: *bucket_key,
                customer_key_md5,
                ..self
            },
            Some(Encryption::Customer(key)) => Attributes {
                server_side_encryption: None,
                kms_key_id: None,
                bucket_key_enabled: None,
                customer_key_md5: Some(key.md5().to_owned()),
                ..self
            },
        }
    }
}

impl Location {
    /// The customer's key of the mount.
    pub(in crate::object) fn customer_key(&self) -> Option<&CustomerKey> {
        match self.attributes.as_ref()?.encryption.as_ref()? {
            Encryption::Customer(key) => Some(key),
            Encryption::Store | Encryption::Kms { .. } => None,
        }
    }

    /// What the mount says, but for its customer's key, which no record is encrypted with.
    pub(in crate::object) fn attributes_without_key(&self) -> Option<Arc<ObjectAttributes>> {
        let mount = self.attributes.as_ref()?;
        Some(match self.customer_key() {
            None => Arc::clone(mount),
            Some(_) => Arc::new(ObjectAttributes {
                encryption: None,
                ..(**mount).clone()
            }),
        })
    }

    /// The key that an object with these attributes is encrypted with, if it is that of the mount.
    pub(in crate::object) fn key_of(&self, attributes: &Attributes) -> Option<&CustomerKey> {
        let md5 = attributes.customer_key_md5.as_deref()?;
        self.customer_key().filter(|key| key.md5() == md5)
    }

    /// Whether an upload with these attributes can go on here: the store takes its parts with the
    /// key only that it was created with.
    pub(in crate::object) fn has_key_of(&self, attributes: &Attributes) -> bool {
        attributes.customer_key_md5.is_none() || self.key_of(attributes).is_some()
    }

    /// The same, in a mount that encrypts as these attributes say: an upload that is resumed after
    /// the configuration has changed stays what it was.
    pub(in crate::object) fn encrypting_as(&self, attributes: &Attributes) -> Location {
        let encryption = match (
            &attributes.customer_key_md5,
            attributes.server_side_encryption.as_deref(),
        ) {
            (Some(_), _) => self.key_of(attributes).cloned().map(Encryption::Customer),
            (None, None) => None,
            (None, Some(kind)) if kind.starts_with("aws:kms") => Some(Encryption::Kms {
                dual_layer: kind == DSSE,
                key: attributes.kms_key_id.clone(),
                bucket_key: attributes.bucket_key_enabled,
            }),
            (None, Some(_)) => Some(Encryption::Store),
        };
        let mount = self.attributes.as_deref().cloned().unwrap_or_default();
        Location {
            attributes: Some(Arc::new(ObjectAttributes {
                encryption,
                ..mount
            })),
            ..self.clone()
        }
    }

    /// The part sizes of uploads here.
    pub(in crate::object) fn part_sizes(&self) -> PartSizes {
        let mount = self.attributes.as_deref();
        self.store
            .part_sizes_from(mount.and_then(|mount| mount.part_size))
    }

    /// The largest object an upload here can become, bytes.
    pub fn largest_object(&self) -> u64 {
        self.part_sizes().largest_object()
    }

    /// The most that is sent as one PutObject, bytes.
    pub fn part_size(&self) -> u64 {
        self.part_sizes().sizes().0
    }

    /// The number of parts of an upload here that are sent in parallel; at least 1.
    pub(in crate::object) fn upload_parallel(&self) -> usize {
        let mount = self.attributes.as_deref();
        let parallel = mount.and_then(|mount| mount.upload_parallel);
        let all = self.store.context().transfer.upload_parallel;
        parallel.unwrap_or(all).max(1)
    }
}
