//! AUTH, PBSZ, PROT, CCC, REIN, FEAT and HELP, and what arrives before a handshake.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{implicit, secured, upload, with_tls};
use test_support::ftp::{Ftp, connect_from};
use test_support::gateway::{BUCKET, Gateway, PASSWORD, USER};
use test_support::tls::{Pki, VERSIONS};
use test_support::within;

#[tokio::test]
async fn each_command_has_its_replies() {
    let pki = Pki::new();
    let gateway = with_tls(&pki, "").start().await;
    let client = pki.client().build();
    let mut ftp = Ftp::connect(gateway.address).await;
    for (line, code) in [
        ("PBSZ 0", 503),
        ("PROT P", 503),
        ("CCC", 533),
        ("AUTH", 501),
        ("AUTH GSSAPI", 504),
        ("ADAT x", 502),
    ] {
        ftp.expect(line, code).await;
    }
    ftp.auth("AUTH TLS", &client).await;
    for (line, code) in [
        ("PROT P", 503),
        ("PBSZ x", 501),
        ("PBSZ 16384", 200),
        ("PROT S", 536),
        ("PROT E", 536),
        ("PROT X", 504),
        ("PROT", 501),
        ("PROT C", 200),
        ("PROT P", 200),
        ("CCC", 534),
        ("AUTH TLS", 503),
        ("AUTH SSL", 503),
        ("REIN", 502),
    ] {
        ftp.expect(line, code).await;
    }
    ftp.login(USER, PASSWORD).await;
    ftp.expect("AUTH TLS", 503).await;
    let status = ftp.expect("STAT", 211).await;
    let shown = status
        .lines
        .iter()
        .any(|line| line.contains("under TLS 1.3"));
    assert!(shown, "{status:?}");
    ftp.expect("QUIT", 221).await;
    gateway.stop().await;
}

#[tokio::test]
async fn the_old_mechanisms_make_data_connections_private() {
    let pki = Pki::new();
    let gateway = with_tls(&pki, "").start().await;
    let client = pki.client().build();
    for mechanism in ["AUTH SSL", "AUTH TLS-P", "auth ssl"] {
        let mut ftp = Ftp::connect(gateway.address).await;
        ftp.auth(mechanism, &client).await;
        ftp.login(USER, PASSWORD).await;
        assert_eq!(
            upload(&mut ftp, &client, "x", mechanism.as_bytes())
                .await
                .code,
            226
        );
        assert_eq!(
            gateway.store.object(BUCKET, "x").unwrap(),
            mechanism.as_bytes()
        );
    }
    let mut ftp = Ftp::connect(gateway.address).await;
    ftp.auth("AUTH TLS-C", &client).await;
    ftp.login(USER, PASSWORD).await;
    assert_eq!(ftp.store("x", b"clear").await.code, 226);
    gateway.stop().await;
}

#[tokio::test]
async fn feat_lists_exactly_the_tls_commands_that_work() {
    let listed = |reply: test_support::ftp::Reply| -> Vec<String> {
        let lines = reply.lines.iter().map(|line| line.trim().to_owned());
        lines
            .filter(|l| ["AUTH TLS", "PBSZ", "PROT"].contains(&l.as_str()))
            .collect()
    };
    let plain = Gateway::start().await;
    let mut ftp = Ftp::connect(plain.address).await;
    assert_eq!(listed(ftp.expect("FEAT", 211).await), [""; 0]);
    for verb in ["AUTH TLS", "PBSZ 0", "PROT P", "CCC"] {
        ftp.expect(verb, 502).await;
        ftp.expect(&format!("HELP {}", &verb[..3]), 502).await;
    }
    let help = ftp.expect("HELP", 214).await;
    assert!(!help.lines.join(" ").contains("AUTH"), "{help:?}");
    plain.stop().await;

    let pki = Pki::new();
    let gateway = with_tls(&pki, "").start().await;
    let client = pki.client().build();
    let mut ftp = Ftp::connect(gateway.address).await;
    assert_eq!(
        listed(ftp.expect("FEAT", 211).await),
        ["AUTH TLS", "PBSZ", "PROT"]
    );
    ftp.expect("HELP AUTH", 214).await;
    let mut ftp = Ftp::connect_implicit(implicit(&gateway), &client).await;
    assert_eq!(listed(ftp.expect("FEAT", 211).await), ["PBSZ", "PROT"]);
    ftp.expect("AUTH TLS", 503).await;
    gateway.stop().await;
}

/// CVE-2011-0411 and similar: what a host on the network path appends to AUTH never runs.
#[tokio::test]
async fn plaintext_after_auth_is_discarded() {
    let pki = Pki::new();
    let gateway = with_tls(&pki, "").start().await;
    for version in VERSIONS {
        let client = pki.client().version(version).build();
        for appended in [
            "USER x\r\n",
            "USER u\r\nPASS p\r\nDELE keep\r\n",
            "NOO",
            "AUTH TLS\r\n",
        ] {
            let mut ftp = Ftp::connect(gateway.address).await;
            ftp.send_raw(format!("AUTH TLS\r\n{appended}").as_bytes())
                .await;
            ftp.expect_reply(234).await;
            ftp.handshake(&client).await.unwrap();
            // It leaves neither a reply nor a state.
            ftp.expect("PASS p", 503).await;
            ftp.in_step().await;
            ftp.close().await;
        }
    }
    gateway.stop().await;
}

#[tokio::test]
async fn commands_before_auth_have_no_effect_after_it() {
    let pki = Pki::new();
    let gateway = with_tls(&pki, "").start().await;
    gateway.store.put(BUCKET, "dir/x", "1");
    let client = pki.client().build();
    let mut ftp = Ftp::connect(gateway.address).await;
    ftp.login(USER, PASSWORD).await;
    ftp.expect("CWD dir", 250).await;
    ftp.expect("RNFR x", 350).await;
    ftp.auth("AUTH TLS", &client).await;
    ftp.expect("PWD", 530).await;
    ftp.expect("PASS p", 503).await;
    ftp.login(USER, PASSWORD).await;
    ftp.expect("RNTO y", 503).await;
    assert!(ftp.expect("PWD", 257).await.text().contains("\"/\""));
    gateway.stop().await;
}

#[tokio::test]
async fn a_handshake_with_another_protocol_is_refused() {
    let pki = Pki::new();
    let gateway = with_tls(&pki, "").start().await;
    for version in VERSIONS {
        let client =
            |protocols: &[&str]| pki.client().version(version).protocols(protocols).build();
        for wrong in [&["h2", "http/1.1"][..], &["smtp"]] {
            let mut ftp = Ftp::connect(gateway.address).await;
            ftp.expect("AUTH TLS", 234).await;
            ftp.handshake(&client(wrong)).await.unwrap_err();
            let socket = connect_from([127, 0, 0, 1].into(), implicit(&gateway)).await;
            client(wrong).connect(socket.unwrap()).await.unwrap_err();
        }
        let mut ftp = Ftp::connect(gateway.address).await;
        ftp.auth("AUTH TLS", &client(&["x-other", "ftp"])).await;
        assert_eq!(ftp.tls().alpn_protocol(), Some(&b"ftp"[..]));
        // On data connections `ftp-data` is accepted too; `http/1.1` is not.
        ftp.login(USER, PASSWORD).await;
        ftp.expect("PBSZ 0", 200).await;
        ftp.expect("PROT P", 200).await;
        assert_eq!(
            upload(&mut ftp, &client(&["ftp-data"]), "x", b"1")
                .await
                .code,
            226
        );
        let data = ftp.data_passive().await;
        ftp.expect("STOR x", 150).await;
        client(&["http/1.1"]).connect(data).await.unwrap_err();
        ftp.expect_reply(522).await;
        assert_eq!(gateway.store.object(BUCKET, "x").unwrap(), b"1");
    }
    gateway.stop().await;
}

#[tokio::test]
async fn garbage_instead_of_a_handshake_ends_the_connection_without_an_echo() {
    let pki = Pki::new();
    let gateway = with_tls(&pki, "").start().await;
    let ends = async |mut stream: TcpStream| {
        let mut rest = Vec::new();
        // A reset ends it too.
        let _ = within("the end", stream.read_to_end(&mut rest)).await;
        assert!(
            !String::from_utf8_lossy(&rest).contains("secret"),
            "{rest:?}"
        );
    };
    for rubbish in ["GET /secret HTTP/1.1\r\nHost: x\r\n\r\n", "USER secret\r\n"] {
        let mut stream = TcpStream::connect(implicit(&gateway)).await.unwrap();
        stream.write_all(rubbish.as_bytes()).await.unwrap();
        ends(stream).await;
        let mut stream = TcpStream::connect(gateway.address).await.unwrap();
        stream.read_u8().await.unwrap();
        stream.write_all(b"AUTH TLS\r\n").await.unwrap();
        let mut reply = Vec::new();
        while !reply.ends_with(b"handshake\r\n") {
            reply.push(stream.read_u8().await.unwrap());
        }
        stream.write_all(rubbish.as_bytes()).await.unwrap();
        ends(stream).await;
    }
    // Other clients are served as before.
    let client = pki.client().build();
    secured(&gateway, &client).await;
    gateway.stop().await;
}

#[tokio::test]
async fn prot_between_epsv_and_the_command() {
    let pki = Pki::new();
    let gateway = with_tls(&pki, "").start().await;
    let client = pki.client().build();
    let mut ftp = secured(&gateway, &client).await;
    // Without a data connection yet: the port stays, and the last PROT decides.
    let address = ftp.epsv().await;
    ftp.expect("PROT C", 200).await;
    let mut data = TcpStream::connect(address).await.unwrap();
    ftp.expect("STOR x", 150).await;
    data.write_all(b"clear").await.unwrap();
    data.shutdown().await.unwrap();
    ftp.expect_reply(226).await;
    let address = ftp.epsv().await;
    ftp.expect("PROT P", 200).await;
    let data = TcpStream::connect(address).await.unwrap();
    ftp.expect("RETR x", 150).await;
    let mut tls = client.connect(data).await.unwrap();
    let (bytes, end) = test_support::tls::read_all(&mut tls).await;
    end.unwrap();
    assert_eq!(bytes, b"clear");
    ftp.expect_reply(226).await;
    // With one: it was begun in the other mode, and is closed.
    let data = ftp.data_passive().await;
    client.connect(data).await.unwrap();
    ftp.expect("PROT C", 200).await;
    ftp.expect("RETR x", 425).await;
    assert_eq!(ftp.retrieve("x").await.0, b"clear");
    ftp.in_step().await;
    gateway.stop().await;
}
