//! argon2id as a PHC string: `$argon2id$v=19$m=19456,t=2,p=1$salt$hash` (RFC 9106).

use argon2::password_hash::{self, phc};
use argon2::{ARGON2ID_IDENT, Algorithm, Argon2, Block, Params};

use super::{HashError, SMALL, Scheme, at_most};

const NAME: &str = "argon2id";
/// The largest `m × t`, KiB. The time of a check is in proportion to it.
const MOST_WORK: u64 = 4 * 1024 * 1024;
/// Blocks of 1 KiB that a check reserves, at least. glibc keeps freed memory in the arena of the
/// thread that allocated it, unless the allocation was larger than its largest mmap threshold (32
/// MiB). Reserved memory that is not used is never resident.
const OWN_MAPPING: usize = 33 * 1024;

struct Argon2id {
    hash: phc::PasswordHash,
    params: Params,
}

/// Reads the whole text.
pub(super) fn parse(text: &str) -> Result<Box<dyn Scheme>, HashError> {
    let hash = whole(text).ok_or(HashError::Malformed(NAME))?;
    let work = u64::from(hash.params.m_cost()) * u64::from(hash.params.t_cost());
    at_most(NAME, "m × t", work, MOST_WORK)?;
    Ok(Box::new(hash))
}

fn whole(text: &str) -> Option<Argon2id> {
    let hash = phc::PasswordHash::new(text).ok()?;
    let params = Params::try_from(&hash).ok()?;
    argon2::Version::try_from(hash.version?).ok()?;
    hash.hash.as_ref()?;
    let whole = hash.algorithm == ARGON2ID_IDENT
        && hash
            .salt
            .as_ref()
            .is_some_and(|salt| salt.len() >= argon2::MIN_SALT_LEN);
    whole.then_some(Argon2id { hash, params })
}

impl Argon2id {
    /// Hashes in memory that returns to the system at the end.
    fn check(&self, password: &[u8]) -> password_hash::Result<bool> {
        let hash = &self.hash;
        let (Some(version), Some(salt), Some(expected)) = (hash.version, &hash.salt, &hash.hash)
        else {
            return Ok(false);
        };
        let blocks = self.params.block_count();
        let mut memory = Vec::new();
        memory
            .try_reserve_exact(blocks.max(OWN_MAPPING))
            .map_err(|_| argon2::Error::OutOfMemory)?;
        memory.resize(blocks, Block::new());
        let mut output = [0; phc::Output::MAX_LENGTH];
        let output = &mut output[..expected.len()];
        Argon2::new(
            Algorithm::Argon2id,
            version.try_into()?,
            self.params.clone(),
        )
        .hash_password_into_with_memory(password, salt, output, &mut memory)?;
        // Compares in constant time.
        Ok(phc::Output::new(output)? == *expected)
    }
}

impl Scheme for Argon2id {
    fn name(&self) -> &'static str {
        NAME
    }

    fn matches(&self, password: &[u8]) -> bool {
        self.check(password).unwrap_or(false)
    }

    fn memory(&self) -> u64 {
        (u64::from(self.params.m_cost()) * 1024).max(SMALL)
    }
}
