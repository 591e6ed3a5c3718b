//! yescrypt: `$y$j9T$salt$hash`, what current distributions write to /etc/shadow.

use base64ct::{Base64ShaCrypt, Encoding};
use subtle::ConstantTimeEq;
use yescrypt::{Mode, Params};

use super::{HashError, SMALL, Scheme, at_most, decode_crypt};

const NAME: &str = "yescrypt";
/// The largest table, bytes: that of mkpasswd's largest cost, 11. The time of a check is in
/// proportion to it.
const LARGEST_TABLE: u64 = 1 << 30;
/// The largest `p`.
const MOST_PARALLEL: u64 = 64;
const LONGEST_SALT: usize = 64;
/// The S-boxes of each `p`, bytes.
const S_BOXES: u64 = 12 * 1024;

struct Yescrypt {
    params: Params,
    memory: u64,
    salt: Box<[u8]>,
    expected: [u8; 32],
}

/// Reads what follows `$y$`.
pub(super) fn parse(rest: &str) -> Result<Box<dyn Scheme>, HashError> {
    let malformed = HashError::Malformed(NAME);
    let fields: Vec<&str> = rest.split('$').collect();
    let [settings, salt, hash] = fields[..] else {
        return Err(malformed);
    };
    let (params, memory) = parse_settings(settings)?;
    let mut bytes = [0; LONGEST_SALT];
    let salt = Base64ShaCrypt::decode(salt, &mut bytes).map_err(|_| malformed)?;
    Ok(Box::new(Yescrypt {
        params,
        memory,
        salt: salt.into(),
        expected: decode_crypt(hash).ok_or(malformed)?,
    }))
}

/// The parameters, and the memory that they take.
fn parse_settings(settings: &str) -> Result<(Params, u64), HashError> {
    let malformed = HashError::Malformed(NAME);
    let params: Params = settings.parse().map_err(|_| malformed)?;
    let (n, r, p) = (params.n(), u64::from(params.r()), u64::from(params.p()));
    let block = 128 * r;
    let table = block.saturating_mul(n);
    at_most(NAME, "128 × N × r", table, LARGEST_TABLE)?;
    at_most(NAME, "p", p, MOST_PARALLEL)?;
    // `Params` shows neither the mode nor t.
    let is_mode =
        |mode: &Mode| Params::new(*mode, n, params.r(), params.p()).is_ok_and(|of| of == params);
    let mode = [Mode::Rw, Mode::Worm, Mode::Classic]
        .into_iter()
        .find(is_mode)
        .ok_or(HashError::Unsupported {
            kind: NAME,
            reason: "its parameter t is not 0",
        })?;
    // The parser of `Params` ignores what follows them. With these bounds they can be written.
    if params.to_string() != settings {
        return Err(malformed);
    }
    // What the crate allocates: the table, one block for each p, and two more. Before that, a mode
    // of its own hashes the password in a table of a 64th, and each p has S-boxes.
    let blocks = block * (p + 2);
    let memory = match mode {
        Mode::Rw => table + table / 64 + 2 * (blocks + S_BOXES * p),
        Mode::Worm | Mode::Classic => {
            // They fill the table once for each p.
            at_most(NAME, "128 × N × r × p", table * p, LARGEST_TABLE)?;
            table + blocks
        }
    };
    Ok((params, memory.max(SMALL)))
}

impl Scheme for Yescrypt {
    fn name(&self) -> &'static str {
        NAME
    }

    fn matches(&self, password: &[u8]) -> bool {
        let mut derived = [0; 32];
        yescrypt::yescrypt(password, &self.salt, &self.params, &mut derived).is_ok()
            && bool::from(derived.ct_eq(&self.expected))
    }

    fn memory(&self) -> u64 {
        self.memory
    }
}
