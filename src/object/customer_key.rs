//! Reads with the key of SSE-C that a location's mount has.

use crate::object::attributes::CustomerKey;
use crate::object::error::{ObjectError, RequestFailure};
use crate::object::location::Location;

/// Sends a request that reads with the key of the location, if it has one, and once more without it
/// if the store refuses that. Returns the answer, and the MD5 of the key that it was got with.
pub(in crate::object) async fn read_with_key<T, F>(
    location: &Location,
    send: impl Fn(Option<CustomerKey>) -> F,
) -> Result<(T, Option<String>), RequestFailure>
where
    F: Future<Output = Result<T, RequestFailure>>,
{
    let Some(key) = location.customer_key() else {
        return Ok((send(None).await?, None));
    };
    let failure = match send(Some(key.clone())).await {
        Ok(output) => return Ok((output, Some(key.md5().to_owned()))),
        Err(failure) => failure,
    };
    // 400: not encrypted with a customer's key, 403: with another one, or a policy.
    if !matches!(failure.status, Some(400 | 403)) {
        return Err(failure);
    }
    match send(None).await {
        Ok(output) => Ok((output, None)),
        Err(without) if without.status == Some(400) => Err(RequestFailure {
            error: ObjectError::OtherKey,
            ..failure
        }),
        Err(without) => Err(without),
    }
}
