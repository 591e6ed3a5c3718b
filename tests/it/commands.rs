//! Commands, reply by reply: each gets exactly its replies, with the codes of the RFCs.

mod data;
mod information;
mod legacy_forms;
mod login;
mod parameters;
mod restart;
mod transfers;

use test_support::ftp::Ftp;

/// Sends each line and expects exactly one reply.
async fn answers(ftp: &mut Ftp, table: &[(&str, u16)]) {
    for (line, code) in table {
        ftp.expect(line, *code).await;
        ftp.in_step().await;
    }
}
