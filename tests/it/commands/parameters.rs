//! Commands and their parameters: which are accepted, and with which codes the others are refused.

use super::answers;
use test_support::gateway::{BUCKET, Gateway};

#[tokio::test]
async fn types_modes_and_structures() {
    let gateway = Gateway::start().await;
    let mut ftp = gateway.ftp().await;
    answers(
        &mut ftp,
        &[
            ("TYPE A", 200),
            ("TYPE A N", 200),
            ("type a n", 200),
            ("TYPE I", 200),
            ("Type i", 200),
            ("TYPE L 8", 200),
            ("TYPE A T", 504),
            ("TYPE A C", 504),
            ("TYPE E", 504),
            ("TYPE L 36", 504),
            ("TYPE L", 501),
            ("TYPE X", 501),
            ("TYPE", 501),
            ("MODE S", 200),
            ("mode s", 200),
            ("MODE B", 504),
            ("MODE C", 504),
            ("MODE X", 501),
            ("MODE", 501),
            ("STRU F", 200),
            ("stru f", 200),
            ("STRU R", 504),
            ("STRU P", 504),
            ("STRU X", 501),
            ("STRU", 501),
        ],
    )
    .await;
    ftp.close().await;
    gateway.stop().await;
}

#[tokio::test]
async fn unknown_commands_and_wrong_parameters() {
    let gateway = Gateway::start().await;
    let mut ftp = gateway.ftp().await;
    answers(
        &mut ftp,
        &[
            ("", 500),
            ("XYZZY", 500),
            ("XYZZY plugh", 500),
            ("NOOPS", 500),
            (" NOOP", 500),
            ("USER\tu", 500),
            // Standard commands that are not offered.
            ("AUTH TLS", 502),
            ("PBSZ 0", 502),
            ("PROT P", 502),
            ("CCC", 502),
            ("SMNT /", 502),
            ("CCC", 502),
            ("MFCT 20200101000000 x", 502),
            ("LANG", 502),
            ("LPRT 6,16", 502),
            ("SITE EXEC ls", 502),
            // A parameter is missing or malformed.
            ("CWD", 501),
            ("MKD", 501),
            ("RMD", 501),
            ("DELE", 501),
            ("RETR", 501),
            ("STOR", 501),
            ("APPE", 501),
            ("SIZE", 501),
            ("MDTM", 501),
            ("MFMT 20200101000000", 501),
            ("MFMT yesterday x", 501),
            ("MFF x", 501),
            ("MFF create=20200101000000; x", 504),
            ("RNFR", 501),
            ("RNTO", 501),
            ("REST", 501),
            ("REST -1", 501),
            ("REST 18446744073709551616", 501),
            ("ALLO", 501),
            ("ALLO many", 501),
            ("PORT", 501),
            ("PORT 1,2,3", 501),
            ("PORT 127,0,0,1,0,0", 501),
            ("PORT 256,0,0,1,200,0", 501),
            ("EPRT", 501),
            ("EPRT |1|127.0.0.1|", 501),
            ("EPRT |1|127.0.0.1|99999|", 501),
            ("EPRT |3|x|5000|", 522),
            ("EPSV 3", 522),
            ("EPSV x", 501),
            ("OPTS", 501),
            ("OPTS NOSUCH", 501),
            ("OPTS UTF8 NO", 501),
            ("OPTS UTF8 OFF", 504),
            ("SITE", 501),
            ("SITE CHMOD", 501),
            ("SITE CHMOD rwx x", 501),
            ("CLNT", 501),
            ("HELP NOSUCH", 502),
            ("RNTO x", 503),
        ],
    )
    .await;
    assert!(gateway.store.requests().is_empty());
    ftp.close().await;
    gateway.stop().await;
}

#[tokio::test]
async fn the_x_forms_do_the_same_and_case_does_not_matter() {
    let gateway = Gateway::start().await;
    let mut ftp = gateway.ftp().await;
    ftp.expect("XMKD one", 257).await;
    ftp.expect("xcwd one", 250).await;
    let reply = ftp.expect("XPWD", 257).await;
    assert!(reply.text().contains("\"/one\""), "{reply:?}");
    ftp.expect("xMkD two", 257).await;
    ftp.expect("xrmd two", 250).await;
    ftp.expect("XCUP", 250).await;
    let reply = ftp.expect("pWd", 257).await;
    assert!(reply.text().contains("\"/\""), "{reply:?}");
    ftp.expect("XRMD one", 250).await;
    assert!(gateway.store.keys(BUCKET).is_empty());
    ftp.in_step().await;
    ftp.close().await;
    gateway.stop().await;
}

/// RFC 959, 4.1.3 and RFC 3659, 5: RNTO and the transfer come immediately after their first half.
#[tokio::test]
async fn rest_and_rnfr_do_not_outlive_other_commands() {
    let gateway = Gateway::start().await;
    gateway.store.put(BUCKET, "x", "0123456789");
    let mut ftp = gateway.ftp().await;
    ftp.expect("TYPE I", 200).await;
    for (between, from) in [
        (&[][..], 4),
        (&["NOOP", "TYPE I", "MODE S", "SIZE x"], 4),
        (&["PWD"], 0),
        (&["CWD /"], 0),
        (&["DELE none"], 0),
        (&["REST 6"], 6),
        (&["REST 0"], 0),
    ] {
        ftp.expect("REST 4", 350).await;
        for line in between {
            ftp.command(line).await;
        }
        let (bytes, reply) = ftp.retrieve("x").await;
        assert_eq!(
            (&bytes[..], reply.code),
            (&b"0123456789"[from..], 226),
            "{between:?}"
        );
        // It held for one transfer.
        let (bytes, _) = ftp.retrieve("x").await;
        assert_eq!(bytes, b"0123456789", "{between:?}");
    }
    for (between, code) in [
        ("NOOP", 250),
        ("PWD", 503),
        ("XYZZY", 503),
        ("RNTO", 503),
        ("SIZE x", 503),
        ("RNFR none", 503),
    ] {
        gateway.store.put(BUCKET, "from", "1");
        ftp.expect("RNFR from", 350).await;
        ftp.command(between).await;
        let reply = ftp.command("RNTO to").await;
        assert_eq!(reply.code, code, "{between}");
        ftp.expect("RNTO to", 503).await;
    }
    ftp.in_step().await;
    ftp.close().await;
    gateway.stop().await;
}
