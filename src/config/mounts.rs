//! Reads mounts. What depends on the user stays a template until [`MountTemplate::fill`].

use std::sync::Arc;

use crate::config::attributes;
use crate::config::placeholders::{Values, missing};
use crate::config::references::{known, unknown};
use crate::config::section::Field;
use crate::config::{names, values};
use crate::namespace::options::{ControlLoss, MountOptions};
use crate::namespace::template::{self, Template};
use crate::namespace::{NamePatterns, Permission, Permissions, VirtualPath, is_state_key};

/// The form of a mount.
pub(super) const MOUNT: &str = "{ store = \"STORE\", bucket = \"BUCKET\", … }";
/// The longest prefix, bytes.
const LONGEST_PREFIX: usize = 1000;

/// A mount as it is written.
pub(super) struct MountTemplate {
    /// Empty, or ends in `/`.
    prefix: Template,
    /// Everything else; with the prefix, if that has no placeholder.
    options: Arc<MountOptions>,
}

/// Reads a mount.
pub(super) fn mount(field: &Field<'_>, stores: &[&str]) -> Option<MountTemplate> {
    let section = field.section(MOUNT)?;
    let configured = known("store", stores);
    let store = section.required("store", &configured).and_then(|field| {
        let name = field.text(&configured)?;
        if stores.contains(&name) {
            return Some(name.to_owned());
        }
        field.wrong(unknown("store", name, stores), configured.as_str())
    });
    let bucket = section
        .required("bucket", "the name of a bucket")
        .and_then(|field| values::bucket(&field));
    let prefix = section
        .field("prefix")
        .map_or(Some(Template::default()), |field| prefix(&field));
    let permissions = section
        .field("permissions")
        .map_or(Some(Permissions::all()), |field| permissions(&field));
    let state_bucket = section
        .field("state_bucket")
        .and_then(|field| values::bucket(&field));
    let ascii_convert = section.word_or_default("ascii", &[false, true]);
    let times_metadata = section.word_or_default("times", &[false, true]);
    let verify_downloads = section.flag_or_default("verify_downloads");
    let keep_interrupted = section.word_or_default("interrupted", &[true, false]);
    let on_control_loss = section.word_or_default(
        "on_control_loss",
        &[ControlLoss::Keep, ControlLoss::Publish],
    );
    let temporary = section
        .field("temporary")
        .map_or(Some(NamePatterns::default()), |field| {
            values::name_patterns(&field)
        });
    let temporary_keep = section.time("temporary_keep");
    if temporary_keep.is_some() && section.field("temporary").is_none() {
        section.wrong("temporary_keep", "is without temporary", "both, or neither");
    }
    let attributes = attributes::decode(&section);
    let max_file_size = section.size("max_file_size");
    let names = Arc::new(names::rules(&section));
    section.finish();
    let prefix = prefix?;
    let options = MountOptions {
        store: store?,
        bucket: bucket?,
        prefix: prefix.text(""),
        permissions: permissions?,
        ascii_convert,
        times_metadata,
        verify_downloads,
        state_bucket,
        keep_interrupted,
        on_control_loss,
        temporary: temporary?,
        temporary_keep,
        attributes,
        max_file_size,
        names,
    };
    Some(MountTemplate {
        prefix,
        options: Arc::new(options),
    })
}

impl MountTemplate {
    /// The mount of one user; `place` is where it stands in the user's tree.
    pub(super) fn fill(
        &self,
        place: &Field<'_>,
        values: &impl Values,
    ) -> Option<Arc<MountOptions>> {
        let attributes = &self.options.attributes;
        if self.prefix.placeholders().next().is_none() && !attributes.depends_on_user() {
            return Some(Arc::clone(&self.options));
        }
        let attributes = attributes::fill(attributes, place, values)?;
        for name in self.prefix.placeholders() {
            match values.value(name) {
                Some(value) => element(place, name, value)?,
                None => return missing(place, "prefix", name, values),
            }
        }
        let filled = self.prefix.fill(|name| values.value(name)).ok()?;
        let prefix = filled.text("");
        let depends = self.prefix.placeholders().next().is_some();
        if let Some(problem) = prefix_problem(&prefix).filter(|_| depends) {
            let template = self.prefix.to_string();
            return place.wrong(
                format!(
                    "the prefix {template:?} of this mount becomes {prefix:?}, which has {problem}"
                ),
                "values that make it a path of at most 1000 bytes without \".\" and \"..\"",
            );
        }
        Some(Arc::new(MountOptions {
            prefix,
            attributes,
            ..(*self.options).clone()
        }))
    }
}

/// Checks a value that becomes part of an element of keys, so that it leads to no other directory.
fn element(place: &Field<'_>, name: &str, value: &str) -> Option<()> {
    let right = !value.is_empty() && !value.contains('/') && !value.chars().any(char::is_control);
    if right && !matches!(value, "." | "..") {
        return Some(());
    }
    let is_name = !value.is_empty() && !value.chars().any(char::is_control);
    if !is_name && matches!(name, template::USER | template::GROUP) {
        // That is an error of its own.
        return None;
    }
    let what = match name {
        template::USER => "user's name".to_owned(),
        template::GROUP => "group's name".to_owned(),
        name => format!("attribute {name}"),
    };
    place.wrong(
        format!(
            "the prefix of this mount has {{{name}}}, and the {what} can't be an element of a key"
        ),
        "a value that is not empty, has no \"/\" and no control character, and is neither \".\" nor \"..\"",
    )
}

/// Reads a prefix: without a leading and with a trailing slash, or empty.
fn prefix(field: &Field<'_>) -> Option<Template> {
    let allowed = "a path such as \"in/{user}/\": no empty element, \".\", \"..\" or control character; in braces user, group or the name of an attribute; at most 1000 bytes";
    let text = field.text(allowed)?;
    let inner = text.strip_prefix('/').unwrap_or(text);
    let inner = inner.strip_suffix('/').unwrap_or(inner);
    if inner.is_empty() && text.len() <= 1 {
        return Some(Template::default());
    }
    let whole = format!("{inner}/");
    if let Some(problem) = prefix_problem(&whole) {
        return field.wrong(format!("{text:?} has {problem}"), allowed);
    }
    match Template::parse(&whole) {
        Ok(template) if template.placeholders().any(|name| name == template::PEER) => {
            field.wrong(format!("{text:?} has {{peer}}"), allowed)
        }
        Ok(template) => Some(template),
        Err(error) => field.wrong(format!("{text:?} has {error}"), allowed),
    }
}

/// What is wrong with a prefix that ends in a slash.
fn prefix_problem(prefix: &str) -> Option<&'static str> {
    let inner = prefix.strip_suffix('/').unwrap_or(prefix);
    let has = |wrong: fn(&str) -> bool| inner.split('/').any(wrong);
    if has(str::is_empty) {
        Some("an empty element")
    } else if has(|element| matches!(element, "." | "..")) {
        Some("an element \".\" or \"..\"")
    } else if inner.chars().any(char::is_control) {
        Some("a control character")
    } else if is_state_key(prefix) {
        Some("the server's own state below it, .s3ftpd/")
    } else if prefix.len() > LONGEST_PREFIX + 1 {
        Some("more than 1000 bytes")
    } else {
        None
    }
}

fn permissions(field: &Field<'_>) -> Option<Permissions> {
    let names = Permission::ALL.map(Permission::name);
    let allowed = format!("a list of {}; left out: all", names.join(", "));
    let items = field.items(&allowed)?;
    if items.is_empty() {
        return field.wrong("is empty", allowed);
    }
    let mut permissions = Some(Permissions::none());
    for item in items {
        let name = item.text(&allowed);
        let found = name.and_then(|name| {
            let permission = Permission::ALL
                .into_iter()
                .find(|permission| permission.name() == name);
            permission.or_else(|| item.wrong(unknown("permission", name, &names), allowed.as_str()))
        });
        permissions = match (permissions, found) {
            (Some(permissions), Some(permission)) => Some(permissions.with(permission)),
            _ => None,
        };
    }
    permissions
}

/// Reads a path of a user's tree. It must be in its normal form, except for one trailing slash.
pub(super) fn mount_path(text: &str, place: &Field<'_>) -> Option<VirtualPath> {
    let allowed = "an absolute path such as \"/\" or \"/archive\", without an empty element, \".\", \"..\" or a control character";
    let Some(inner) = text.strip_prefix('/') else {
        return place.wrong("the path of a mount begins with \"/\"", allowed);
    };
    let inner = inner.strip_suffix('/').unwrap_or(inner);
    let normal = text.len() <= 1
        || inner
            .split('/')
            .all(|element| !matches!(element, "" | "." | ".."));
    if !normal || inner.chars().any(char::is_control) {
        return place.wrong("the path of this mount is not in its normal form", allowed);
    }
    match VirtualPath::root().join(&format!("/{inner}")) {
        Ok(path) => Some(path),
        Err(error) => place.wrong(error.to_string(), allowed),
    }
}
