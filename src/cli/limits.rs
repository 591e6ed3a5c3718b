//! Caps the configured limits to what the system allows, and collects the warnings about a
//! configuration.

use crate::server::capacity::{descriptors, machine, memory};
use crate::server::options::ServerOptions;

use super::warnings;

/// Caps the number of sessions to what the system's limits allow. Returns warnings about that, and
/// about settings that are probably mistakes. An error if the system allows only one session.
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
