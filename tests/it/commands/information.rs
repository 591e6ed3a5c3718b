//! FEAT, OPTS, HELP, SYST, STAT, SITE, CLNT, ALLO, NOOP: what the server reports of itself (RFC
//! 2389, 959).

use super::answers;
use test_support::ftp::Ftp;
use test_support::gateway::{BUCKET, Gateway};

/// The features in the reply, without the leading space.
async fn features(ftp: &mut Ftp) -> Vec<String> {
    let reply = ftp.expect("FEAT", 211).await;
    let inner = &reply.lines[1..reply.lines.len() - 1];
    inner
        .iter()
        .map(|line| {
            line.strip_prefix(' ')
                .unwrap_or_else(|| panic!("RFC 2389, 3.2: {line:?}"))
                .to_owned()
        })
        .collect()
}

#[tokio::test]
async fn everything_in_feat_works_and_mfmt_is_listed_only_if_it_works() {
    for times in [false, true] {
        let gateway = Gateway::builder()
            .mount(if times {
                "times = \"metadata\""
            } else {
                "times = \"store\""
            })
            .start()
            .await;
        gateway.store.put(BUCKET, "ä.csv", "0123456789");
        let mut ftp = gateway.ftp().await;
        ftp.expect("TYPE I", 200).await;
        let features = features(&mut ftp).await;
        let settable = features.iter().any(|feature| feature == "MFMT");
        assert_eq!(settable, times);
        assert_eq!(features.contains(&"MFF modify;".to_owned()), times);
        for wanted in ["EPSV", "EPRT", "MDTM", "REST STREAM", "SIZE", "UTF8"] {
            assert!(features.iter().any(|feature| feature == wanted), "{wanted}");
        }
        for feature in &features {
            try_feature(&mut ftp, feature).await;
            ftp.in_step().await;
        }
        if !times {
            ftp.expect("MFMT 20200102030405 ä.csv", 550).await;
            ftp.expect("MFF modify=20200102030405; ä.csv", 550).await;
        }
        ftp.close().await;
        gateway.stop().await;
    }
}

async fn try_feature(ftp: &mut Ftp, feature: &str) {
    match feature.split(' ').next().unwrap() {
        "CLNT" => drop(ftp.expect("CLNT test 1.0", 200).await),
        "CSID" => drop(ftp.expect("CSID Name=test;Version=1;", 200).await),
        "EPRT" => drop(ftp.active(test_support::ftp::Active::Eprt).await),
        "EPSV" => drop(ftp.epsv().await),
        "PASV" => drop(ftp.pasv().await),
        "MDTM" => {
            let reply = ftp.expect("MDTM ä.csv", 213).await;
            assert_eq!(reply.text().len(), 14, "{reply:?}");
        }
        "MFF" => {
            ftp.expect("MFF modify=20200102030406; ä.csv", 213).await;
            let reply = ftp.expect("MDTM ä.csv", 213).await;
            assert_eq!(reply.text(), "20200102030406");
        }
        "MFMT" => {
            ftp.expect("MFMT 20200102030405 ä.csv", 213).await;
            let reply = ftp.expect("MDTM ä.csv", 213).await;
            assert_eq!(reply.text(), "20200102030405");
        }
        "MLST" => {
            let facts = feature.strip_prefix("MLST ").unwrap();
            let all: Vec<String> = facts
                .split_terminator(';')
                .map(|fact| fact.trim_end_matches('*').to_ascii_lowercase() + "=")
                .collect();
            let reply = ftp.expect("MLST ä.csv", 250).await;
            let line = reply.lines[1].to_ascii_lowercase();
            for fact in all {
                assert!(line.contains(&fact), "{fact} of {feature} is not in {line}");
            }
            assert_eq!(ftp.list("MLSD").await.1.code, 226);
        }
        "REST" => {
            ftp.expect("REST 7", 350).await;
            assert_eq!(ftp.retrieve("ä.csv").await.0, b"789");
        }
        "SIZE" => assert_eq!(ftp.expect("SIZE ä.csv", 213).await.text(), "10"),
        "TVFS" => drop(ftp.expect("SIZE /x/.././ä.csv", 213).await),
        "UTF8" => {
            ftp.expect("OPTS UTF8 ON", 200).await;
            assert_eq!(ftp.list("NLST").await.0, "ä.csv\r\n");
        }
        "HASH" => drop(ftp.expect("HASH ä.csv", 213).await),
        "RANG" => {
            ftp.expect("RANG 7 8", 350).await;
            assert_eq!(ftp.retrieve("ä.csv").await.0, b"78");
        }
        digest @ ("XCRC" | "XMD5" | "XSHA1" | "XSHA256" | "XSHA512") => {
            ftp.expect(&format!("{digest} ä.csv"), 250).await;
        }
        other => panic!("FEAT lists {other}, which no test has tried"),
    }
}

#[tokio::test]
async fn opts_mlst_chooses_the_facts_and_feat_lists_them() {
    let gateway = Gateway::start().await;
    gateway.store.put(BUCKET, "x", "12345");
    let mut ftp = gateway.ftp().await;
    let reply = ftp.expect("OPTS MLST size;Type;nosuch;", 200).await;
    assert_eq!(
        reply.text().to_ascii_lowercase(),
        "mlst opts type;size;",
        "{reply:?}"
    );
    let (text, _) = ftp.list("MLSD").await;
    assert_eq!(text, "type=file;size=5; x\r\n");
    let mlst = features(&mut ftp).await;
    let mlst = mlst
        .iter()
        .find(|feature| feature.starts_with("MLST "))
        .unwrap();
    let lower = mlst.to_ascii_lowercase();
    assert!(
        lower.contains("type*;") && lower.contains("size*;") && lower.contains("modify;"),
        "{mlst}"
    );
    // RFC 3659, 7.9: a client may choose no fact at all.
    ftp.expect("OPTS MLST", 200).await;
    assert_eq!(ftp.list("MLSD").await.0, " x\r\n");
    ftp.close().await;
    gateway.stop().await;
}

#[tokio::test]
async fn each_verb_that_help_lists_exists() {
    let gateway = Gateway::start().await;
    let mut ftp = gateway.ftp().await;
    let reply = ftp.expect("HELP", 214).await;
    let verbs: Vec<String> = reply.lines[1..reply.lines.len() - 1]
        .iter()
        .flat_map(|line| line.split_whitespace())
        .map(str::to_owned)
        .collect();
    assert!(verbs.len() > 40, "{verbs:?}");
    for verb in &verbs {
        ftp.expect(&format!("HELP {verb}"), 214).await;
        ftp.expect(&format!("help {}", verb.to_lowercase()), 214)
            .await;
        let mut other = gateway.ftp().await;
        let reply = other.command(verb).await;
        assert!(![500, 502].contains(&reply.code), "{verb}: {reply:?}");
        if verb != "QUIT" {
            other.in_step().await;
        }
        other.close().await;
    }
    let reply = ftp.expect("help auth", 502).await;
    assert_eq!(reply.text(), "AUTH is not offered");
    let reply = ftp.expect("HELP nothing", 502).await;
    assert_eq!(reply.text(), "There is no such command");
    ftp.close().await;
    gateway.stop().await;
}

#[tokio::test]
async fn site_syst_clnt_allo_and_noop() {
    let gateway = Gateway::start().await;
    gateway.store.put(BUCKET, "x", "1");
    gateway.store.reset_counts();
    let mut ftp = gateway.ftp().await;
    let system = ftp.expect("SYST", 215).await;
    assert!(system.text().starts_with("UNIX"), "{system:?}");
    answers(
        &mut ftp,
        &[
            ("SITE HELP", 214),
            ("site chmod 644 x", 200),
            ("SITE CHMOD 0755 x", 200),
            ("CLNT test 1.0", 200),
            ("ALLO 1000", 200),
            ("ALLO 0", 200),
            ("ALLO 10 R 80", 200),
            ("ALLO 999999999999999999", 552),
            ("OPTS UTF8", 200),
            ("OPTS UTF-8 ON", 200),
            ("NOOP", 200),
            ("NOOP ignored", 200),
        ],
    )
    .await;
    let listed = ftp.expect("SITE HELP", 214).await;
    assert!(listed.lines.join(" ").contains("CHMOD"));
    // None of them makes a request to the store.
    assert!(gateway.store.requests().is_empty());
    ftp.close().await;
    gateway.stop().await;
}

#[tokio::test]
async fn stat_shows_the_session_and_lists_paths() {
    let gateway = Gateway::start().await;
    gateway.store.put(BUCKET, "dir/a.csv", "12345");
    gateway.store.put(BUCKET, "dir/211 b", "1");
    let mut ftp = gateway.ftp().await;
    ftp.expect("CWD dir", 250).await;
    ftp.expect("TYPE I", 200).await;
    let status = ftp.expect("STAT", 211).await.lines.join("\n");
    for text in ["127.0.0.1", "u", "/dir", "TYPE image"] {
        assert!(status.contains(text), "{text} is not in {status}");
    }
    let listed = ftp.expect("STAT /dir", 212).await;
    assert!(
        listed.lines.iter().any(|line| line.ends_with(" a.csv")),
        "{listed:?}"
    );
    assert!(
        listed.lines.iter().any(|line| line.ends_with(" 211 b")),
        "{listed:?}"
    );
    let file = ftp.expect("STAT -l a.csv", 213).await;
    assert!(file.lines[1].ends_with(" a.csv"), "{file:?}");
    ftp.expect("STAT none", 550).await;
    ftp.in_step().await;
    ftp.close().await;
    gateway.stop().await;
}
