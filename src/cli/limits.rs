//! Caps the configured limits to what the system allows, and collects the warnings about a
//! configuration.

use crate::server::capacity::{descriptors, machine, memory};
use crate::server::options::ServerOptions;

use super::warnings;

/// Has no more sessions than what the system allows suffices for; the warnings about that, and about what is probably not
/// meant in the configuration. An error if there is room for one session only.
pub(super) fn cap(config: &mut ServerOptions) -> Result<Vec<String>, String> {
    let descriptors = descriptors::cap(config, descriptors::limit());
    if let Some(shortage) = descriptors.as_ref().filter(|shortage| shortage.is_fatal()) {
        return Err(shortage.to_string());
    }
    let shortage = memory::cap(config, memory::memory());
    let warnings = [
        descriptors.map(|shortage| shortage.to_string()),
        shortage.map(|shortage| shortage.to_string()),
    ];
    let mut warnings: Vec<String> = warnings.into_iter().flatten().collect();
    #[expect(
        clippy::disallowed_methods,
        reason = "certificates expire by the machine's clock"
    )]
    warnings.extend(warnings::warnings(
        config,
        machine::memory(),
        jiff::Timestamp::now(),
    ));
    Ok(warnings)
}
