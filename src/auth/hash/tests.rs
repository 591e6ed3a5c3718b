#![allow(clippy::unwrap_used, clippy::expect_used)]

use proptest::prelude::*;

use super::*;

fn parse(text: &str) -> Result<PasswordHash, HashError> {
    PasswordHash::parse(&text.into())
}

const LONG: &str = "aVeryLongPasswordThatIsLongerThanOneBlockOfMd5AndOfSha512AsWell\
    0123456789012345678901234567890123456789012345678901234567890123456789";

/// Hashes that other programs have made, and their passwords.
const VECTORS: &[(&str, &str)] = &[
    // The tests of the reference implementation of argon2.
    (
        "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4",
        "password",
    ),
    (
        "$argon2id$v=19$m=256,t=2,p=2$c29tZXNhbHQ$bQk8UB/VmZZF4Oo79iDXuL5/0ttZwg2f/5U52iv1cDc",
        "password",
    ),
    // crypt_blowfish and others.
    (
        "$2a$04$UuTkLRZZ6QofpDOlMz32MuuxEHA43WOemOYHPz6.SjsVsyO1tDU96",
        "password",
    ),
    (
        "$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW",
        "U*U",
    ),
    (
        "$2b$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW",
        "U*U",
    ),
    (
        "$2y$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW",
        "U*U",
    ),
    // mkpasswd -m bcrypt, -m bcrypt-a; htpasswd -B.
    (
        "$2b$05$0xHDTOH0rV/CdUM.viBMzewt4tbSGnlabYmdtIug9wl5m36ZXA9JC",
        "pass word ü",
    ),
    (
        "$2a$05$FCXp9kXwr9U4PKPrxSrIQuj0zkyCuaccoa2sqaZYwVwB84FN6O9Pu",
        "pass word ü",
    ),
    (
        "$2y$05$jxh3akLt.OOL1X7bGUZa2OQ/QplWbygFuQDbGNPykYEDrmSUTheLW",
        "pass word ü",
    ),
    // Drepper's specification, passlib.
    (
        "$6$saltstring$svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjl/O817G3uBnIFNjnQJuesI68u4OTLiBFdcbYEdFCoEOfaS35inz1",
        "Hello world!",
    ),
    (
        "$6$rounds=10000$saltstringsaltst$OW1/O6BYHV6BcXZu8QVeXbDWra3Oeqh0sbHbbMCVNSnCM/UrjmM0Dp8vOuZeHBy/YTBmSK6H9qs/y3RnOaw5v.",
        "Hello world!",
    ),
    (
        "$5$saltstring$5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc5",
        "Hello world!",
    ),
    (
        "$5$rounds=1000$gSv7z3BE7OvaVqsN$lT3ve2k9nPvCXZuE3UVjRVRxa8JA1FhtSS4XkPuRsFA",
        "pass word ü",
    ),
    // openssl passwd -5, -6; mkpasswd -m sha256crypt, -m sha512crypt; htpasswd -2, -5.
    (
        "$5$saltstring$WCFFoeVSkqwvofANd9/LcXC2dSuc/4BgsGUIz0anuTB",
        "pass word ü",
    ),
    (
        "$6$saltstring$SvIUHT1/SQV.Uf8oQpil5VozXCHO.gJVi7R4K0SQ6Wfur5S087bDqV4VLRHhGwLfU0yYVTMCYs6K97nL7zXtQ/",
        "pass word ü",
    ),
    (
        "$6$a b-c_d$VXX2A2awa02GHhqq7sMzbOZuBa3OtIAvxqp9p2ndmzIjrU3FzqYnb2xKgiivp8g08rV8T28o8twfxNh4I3ir70",
        "changeme",
    ),
    (
        "$5$rounds=12345$82IvoYL57LK1D5.i$VzVpepGcHbdDIAXcCEH//9.LMMbheh1FZYIPhPGGcM0",
        LONG,
    ),
    (
        "$6$8bqoJWEJlno.ULmw$SKit2H5JKEMz5HyeWc4u8vVdlJRAyEHGnHe1UQS19zeQ7sdHEr2uvl.nhmkItkXCDAPWxH69cDus6lPnY7vCd.",
        LONG,
    ),
    (
        "$5$kUubmPmJSHg6oxay$PkcWAup5XzowI9eKzwT/YIX2FTr8gkT5LepAyXsVX9D",
        LONG,
    ),
    (
        "$6$nO56AXsJPMT1Sfcz$Cfwlkm4i9aZDFXL8b0zImXA4xzn2nOooXwqXrkNJFKIqHmN4t19dA9cDBMqDDlmmMcUZAk.C0bNLlSyRRQUpM0",
        "changeme",
    ),
    // mkpasswd -m yescrypt; -R 1 and 3.
    (
        "$y$j9T$6lh6W8rKHWchQqqDhh13G1$Qrt.s34C.EMNadzJ2z2ddMQ3rlG5Ikgbd8Ozx5r.to/",
        "changeme",
    ),
    (
        "$y$j9T$ff2u9DpB9.wevuqvM/udS0$ggTvHGlMYfssrvF7acVtSqcmjKKMjX7bY0TJ8jAAWh1",
        LONG,
    ),
    (
        "$y$j75$SWA3quVOcxTyWkXKPvsX3.$DzeTi5Hi5R1HfP.EnGCEM6tTH5yS88sYvIoN7wagOl8",
        "pass word ü",
    ),
    (
        "$y$j7T$DIPr.zETLO8TaCOHt4BTt1$VXR3T05Q7Sdf4qitYx8BQjypPIqIGhJic91Z7ZM6JO8",
        "pass word ü",
    ),
    // TESTS-OK of yescrypt: other modes, r and p.
    (
        "$y$/B3.6$LdJMENpBABJJ3hIHjB1$h8sE4hJo.BsdlfJr0.d8bNJNPZymH7Y3kLj4aY1Rfc8",
        "pleaseletmein",
    ),
    (
        "$y$j91.5$LdJMENpBABJJ3hIH$ebKnn23URD5vyLgF9cP2EvVosrUXf7UErGRV0KmC6e6",
        "pleaseletmein",
    ),
    (
        "$y$j0/$LdJM$k7BXzSDuoGHW56SY3HxROCiA0gWRscZe2aA0q5oHPM0",
        "pleaseletmein",
    ),
    (
        "$y$j1../$LdJMENpBABJJ3hIHjB1Bi.$L8OQFc8mxJPd7CpUFgkS7KqJM2I9jGXu3BdqX2D.647",
        "pleaseletmein",
    ),
    // openssl passwd -1, -apr1; mkpasswd -m md5crypt; htpasswd -m; passlib.
    ("$1$abcd1234$rHRYPu3ZwPZEmH9jHfHS/0", "changeme"),
    ("$1$abcd1234$0Jp14eC6r2VLezj8TS8gl0", "pass word ü"),
    ("$1$abcd1234$Ue16.AjYlcqaFMJ2JWtBS0", ""),
    ("$1$a-b_c.d1$ehCyZjVug2AIZGdMrgV6R/", "changeme"),
    ("$1$$KFGQ08mr1lw3twjczE8bT1", "changeme"),
    ("$1$bzC2ANBR$AxnUM5emj5wdUyUjKYB/u/", LONG),
    ("$1$a$1Wp1N.va3zFZK0DsyQ4Ph.", "changeme"),
    ("$apr1$abcd1234$hd5ANfTbcRiXZG0C/ZTk/0", "pass word ü"),
    ("$apr1$9e7ddd1l$.HZbzQLPLfAgFYESxt0A/1", "changeme"),
    ("$apr1$mihBlCLx$7VI/ibT/Y9lge8ikpC3XW0", ""),
    ("$apr1$xILnvrZA$mbFjI91bpbA1Crnm27ps71", LONG),
    ("$apr1$lRJVvVgG$SkR/wNW4sFPqQuUZEj.dx1", "changeme"),
    // htpasswd -s; passlib's ldap_salted_sha1.
    ("{SHA}+pvrmeQCmtWmYVOZ57uuITVghrM=", "changeme"),
    ("{SHA}QKGpxiR/he5k1EStQscNEcp5FSw=", LONG),
    ("{SSHA}GXklsRQWPKgSyKVVtU63s6IcqG+NEWLM", "changeme"),
    (
        "{SSHA}yXbh6Dd2qDD7UBL868m/A5BTMCn5/79XirG2tra2tvb+f681",
        "changeme",
    ),
    ("{ssha}7MKsIvYS+++x7vla4hBb/XKCTlIH4Fwr", "pass word ü"),
    // The tests and the documentation of SFTPGo.
    (
        "$pbkdf2-sha1$150000$DveVjgYUD05R$X6ydQZdyMeOvpgND2nqGR/0GGic=",
        "password",
    ),
    (
        "$pbkdf2-sha256$150000$E86a9YMX3zC7$R5J62hsSq+pYw00hLLPKBbcGXmq7fj5+/M0IFoYtZbo=",
        "password",
    ),
    (
        "$pbkdf2-sha512$150000$dsu7T5R3IaVQ$1hFXPO1ntRBcoWkSLKw+s4sAP09Xtu4Ya7CyxFq64jM9zdUg8eRJVr3NcR2vQgb0W9HHvZaILHsL4Q/Vr6arCg==",
        "password",
    ),
    ("$1$b5caebda$VODr/nyhGWgZaY8sJ4x05.", "password"),
    (
        "$6$459ead56b72e44bc$uog86fUxscjt28BZxqFBE2pp2QD8P/1e98MNF75Z9xJfQvOckZnQ/1YJqiq1XeytPuDieHZvDAMoP7352ELkO1",
        "secret",
    ),
    ("$apr1$OBWLeSme$WoJbB736e7kKxMBIAqilb1", "password"),
    // hashlib.pbkdf2_hmac of Python, in SFTPGo's form.
    (
        "$pbkdf2-sha1$1000$E86a9YMX3zC7$nxnxAKNvmT0MweGQ4FFPfBK2a2A=",
        "pass word ü",
    ),
    (
        "$pbkdf2-b64salt-sha256$1000$AP9iaW5hcnkQc2FsdA==$grdnPS/1XHhMNglUn8LBPZ4xvp8kzVXlF9N9ztwk2nc=",
        "changeme",
    ),
    (
        "$pbkdf2-sha512$1000$E86a9YMX3zC7$e7xoByPV8DUXhT4ACdS0jkZEekOHRt1p9FUQ2XimV+8V0sDDx8n6q/p1/RH0APMh+1mfReZTMaRWzRBWb3OrRg==",
        "changeme",
    ),
];

#[test]
fn hashes_of_other_programs_take_their_password_only() {
    for (hash, password) in VECTORS {
        let parsed = parse(hash).unwrap_or_else(|error| panic!("{hash}: {error}"));
        assert!(parsed.verify(&(*password).into()), "{hash}");
        assert!(!format!("{parsed:?}").contains('$'), "{parsed:?}");
        // These rounds take long without optimisation.
        if hash.contains("$150000$") {
            continue;
        }
        let shorter: String = password.chars().skip(1).collect();
        let nul = format!("{password}\0");
        for wrong in ["", &shorter, &nul] {
            // HMAC fills a short key up with NUL, so to PBKDF2 the two are the same.
            let same = wrong == nul && hash.starts_with("$pbkdf2");
            if wrong != *password && !same {
                assert!(!parsed.verify(&wrong.into()), "{hash} took {wrong:?}");
            }
        }
    }
}

#[test]
fn texts_that_are_not_whole_hashes() {
    for text in [
        "",
        "hunter2",
        "$",
        "$$",
        "{}",
        "{SSHA",
        "$1",
        "$7$C6..../....SodiumChloride$kBGj9fHznVYFQMEn/qDCfrDevf9YDtcDdKvEqHJLV8D",
        "{MD5}ICy5YqxZB1uWSwcVLSNLcA==",
        "$argon2i$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4",
        " $1$abcd1234$rHRYPu3ZwPZEmH9jHfHS/0",
    ] {
        assert_eq!(parse(text).err(), Some(HashError::Unrecognised), "{text}");
    }
    for (kind, texts) in MALFORMED {
        for text in *texts {
            assert_eq!(
                parse(text).err(),
                Some(HashError::Malformed(kind)),
                "{text}"
            );
        }
    }
}

const MALFORMED: &[(&str, &[&str])] = &[
    (
        "argon2id",
        &[
            "$argon2id$",
            "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ",
            "$argon2id$v=18$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4",
            "$argon2id$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4",
            "$argon2id$v=19$m=1,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4",
            "$argon2id$v=19$m=256,t=2,p=1$c29t$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4",
        ],
    ),
    (
        "bcrypt",
        &[
            "$2b$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOe",
            "$2b$03$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW",
            "$2b$32$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW",
            "$2b$xx$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW",
        ],
    ),
    (
        "sha512-crypt",
        &[
            "$6$",
            "$6$$svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjl/O817G3uBnIFNjnQJuesI68u4OTLiBFdcbYEdFCoEOfaS35inz1",
            "$6$saltstring$svn8",
            "$6$rounds=9$saltstring$svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjl/O817G3uBnIFNjnQJuesI68u4OTLiBFdcbYEdFCoEOfaS35inz1",
            "$6$rounds=+5000$saltstring$svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjl/O817G3uBnIFNjnQJuesI68u4OTLiBFdcbYEdFCoEOfaS35inz1",
            "$6$rounds=5000",
            "$6$saltstring$svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjl/O817G3uBnIFNjnQJuesI68u4OTLiBFdcbYEdFCoEOfaS35inz1$",
            "$6$saltstringsaltstr$svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjl/O817G3uBnIFNjnQJuesI68u4OTLiBFdcbYEdFCoEOfaS35inz1",
        ],
    ),
    (
        "sha256-crypt",
        &[
            "$5$saltstring$5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc",
            "$5$saltstring",
            "$5$salt:string$5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc5",
        ],
    ),
    (
        "yescrypt",
        &[
            "$y$",
            "$y$j9T",
            "$y$j9T$6lh6W8rKHWchQqqDhh13G1",
            "$y$j9T$6lh6W8rKHWchQqqDhh13G1$Qrt",
            "$y$j9$6lh6W8rKHWchQqqDhh13G1$Qrt.s34C.EMNadzJ2z2ddMQ3rlG5Ikgbd8Ozx5r.to/",
            "$y$z9T$6lh6W8rKHWchQqqDhh13G1$Qrt.s34C.EMNadzJ2z2ddMQ3rlG5Ikgbd8Ozx5r.to/",
            "$y$j9T5$6lh6W8rKHWchQqqDhh13G1$Qrt.s34C.EMNadzJ2z2ddMQ3rlG5Ikgbd8Ozx5r.to/",
            "$y$j9T$6lh6W8rKHWchQqqDhh13G1$Qrt.s34C.EMNadzJ2z2ddMQ3rlG5Ikgbd8Ozx5r.to/$",
            "$y$j9T$6lh6W8rKHWchQqqDhh13G1$Qrt.s34C.EMNadzJ2z2ddMQ3rlG5Ikgbd8Ozx5r.t!/",
        ],
    ),
    (
        "md5-crypt",
        &[
            "$1$",
            "$1$salt$0123456789012345678909",
            "$1$abcd12345$rHRYPu3ZwPZEmH9jHfHS/0",
            "$1$abcd1234$rHRYPu3ZwPZEmH9jHfHS/",
        ],
    ),
    ("apr1", &["$apr1$abcd1234$", "$apr1$eNcmYbnUZSdYcNmfYDAOA."]),
    (
        "{SSHA}",
        &[
            "{SSHA}",
            "{SSHA}+pvrmeQCmtWmYVOZ57uuITVghrM=",
            "{SSHA}GXkl",
            "{SSHA}GXklsRQWPKgSyKVVtU63s6IcqG+NEWL!",
        ],
    ),
    (
        "{SHA}",
        &[
            "{SHA}+pvrmeQCmtWmYVOZ57uuITVghr",
            "{SHA}GXklsRQWPKgSyKVVtU63s6IcqG+NEWLM",
        ],
    ),
    (
        "pbkdf2-sha256",
        &[
            "$pbkdf2-sha256$",
            "$pbkdf2-sha256$0$E86a9YMX3zC7$R5J62hsSq+pYw00hLLPKBbcGXmq7fj5+/M0IFoYtZbo=",
            "$pbkdf2-sha256$-1$E86a9YMX3zC7$R5J62hsSq+pYw00hLLPKBbcGXmq7fj5+/M0IFoYtZbo=",
            "$pbkdf2-sha256$1000$$R5J62hsSq+pYw00hLLPKBbcGXmq7fj5+/M0IFoYtZbo=",
            "$pbkdf2-sha256$1000$E86a9YMX3zC7$R5J6",
            "$pbkdf2-b64salt-sha256$1000$?$grdnPS/1XHhMNglUn8LBPZ4xvp8kzVXlF9N9ztwk2nc=",
            // passlib's form, in which the salt is base64 as well, of another alphabet.
            "$pbkdf2-sha256$29000$N2YMIWQsBWBMae09x1jrPQ$1t8iyB2A.WF/Z5JZv.lfCIhXXN33N23OSgQYThBYRfk",
        ],
    ),
];

#[test]
fn bcrypt_with_the_bug_of_old_versions_is_refused_with_the_reason() {
    let error = parse("$2x$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW").unwrap_err();
    assert!(error.to_string().contains("crypt_blowfish"), "{error}");
}

#[test]
fn what_would_take_too_long_or_too_much_memory_is_refused_with_the_bound() {
    for (text, bound) in [
        (
            "$argon2id$v=19$m=65536,t=1000,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4",
            "m × t = 65536000, and the server checks at most 4194304",
        ),
        (
            "$2b$17$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW",
            "cost = 17, and the server checks at most 16",
        ),
        (
            "$6$rounds=5000001$saltstring$svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjl/O817G3uBnIFNjnQJuesI68u4OTLiBFdcbYEdFCoEOfaS35inz1",
            "rounds = 5000001, and the server checks at most 5000000",
        ),
        (
            "$5$rounds=99999999999999999999999$saltstring$5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc5",
            "at most 5000000",
        ),
        // mkpasswd has no such cost: N = 2^19, r = 32.
        (
            "$y$jGT$6lh6W8rKHWchQqqDhh13G1$Qrt.s34C.EMNadzJ2z2ddMQ3rlG5Ikgbd8Ozx5r.to/",
            "128 × N × r = 2147483648, and the server checks at most 1073741824",
        ),
        // N = 2^63.
        (
            "$y$jkCT$6lh6W8rKHWchQqqDhh13G1$Qrt.s34C.EMNadzJ2z2ddMQ3rlG5Ikgbd8Ozx5r.to/",
            "at most 1073741824",
        ),
        // One table for each of 11 p.
        (
            "$y$/E5.7$LdJMENpBABJJ3hIHjB1Bi.$HboGM6qPrsK.StKYGt6KErmUYtioHreJd98oIugoNB6",
            "128 × N × r × p",
        ),
        (
            "$y$j9T.kE$6lh6W8rKHWchQqqDhh13G1$Qrt.s34C.EMNadzJ2z2ddMQ3rlG5Ikgbd8Ozx5r.to/",
            "p = 66, and the server checks at most 64",
        ),
        (
            "$pbkdf2-sha512$10000001$dsu7T5R3IaVQ$1hFXPO1ntRBcoWkSLKw+s4sAP09Xtu4Ya7CyxFq64jM9zdUg8eRJVr3NcR2vQgb0W9HHvZaILHsL4Q/Vr6arCg==",
            "rounds = 10000001, and the server checks at most 10000000",
        ),
        // SHA-1 takes four times the rounds for a hash of 64 bytes.
        (
            "$pbkdf2-sha1$2500001$dsu7T5R3IaVQ$1hFXPO1ntRBcoWkSLKw+s4sAP09Xtu4Ya7CyxFq64jM9zdUg8eRJVr3NcR2vQgb0W9HHvZaILHsL4Q/Vr6arCg==",
            "rounds = 10000004, and the server checks at most 10000000",
        ),
    ] {
        let error = parse(text).expect_err(text);
        assert!(error.to_string().contains(bound), "{text}: {error}");
    }
    // The largest ones.
    for text in [
        "$argon2id$v=19$m=2097152,t=2,p=4$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4",
        "$2b$16$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW",
        "$6$rounds=5000000$saltstring$svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjl/O817G3uBnIFNjnQJuesI68u4OTLiBFdcbYEdFCoEOfaS35inz1",
        "$y$jFT$6lh6W8rKHWchQqqDhh13G1$Qrt.s34C.EMNadzJ2z2ddMQ3rlG5Ikgbd8Ozx5r.to/",
    ] {
        parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
    }
}

#[test]
fn a_yescrypt_with_another_t_is_refused() {
    let text = "$y$j9T//$6lh6W8rKHWchQqqDhh13G1$Qrt.s34C.EMNadzJ2z2ddMQ3rlG5Ikgbd8Ozx5r.to/";
    let error = parse(text).unwrap_err();
    assert!(error.to_string().contains("parameter t"), "{error}");
}

#[test]
fn memory_is_what_a_check_takes() {
    const KIB: u64 = 1024;
    for (text, bytes) in [
        // Measured in the allocator of a process: 16,688 KiB, 1,039 KiB, 1,065,008 KiB.
        (
            "$y$j9T$6lh6W8rKHWchQqqDhh13G1$Qrt.s34C.EMNadzJ2z2ddMQ3rlG5Ikgbd8Ozx5r.to/",
            16_688 * KIB,
        ),
        (
            "$y$j75$SWA3quVOcxTyWkXKPvsX3.$DzeTi5Hi5R1HfP.EnGCEM6tTH5yS88sYvIoN7wagOl8",
            1_070 * KIB,
        ),
        (
            "$y$jFT$6lh6W8rKHWchQqqDhh13G1$Qrt.s34C.EMNadzJ2z2ddMQ3rlG5Ikgbd8Ozx5r.to/",
            1_065_008 * KIB,
        ),
        (
            "$argon2id$v=19$m=65536,t=3,p=4$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4",
            65_536 * KIB,
        ),
        (
            "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4",
            KIB * KIB,
        ),
        ("$1$abcd1234$rHRYPu3ZwPZEmH9jHfHS/0", KIB * KIB),
    ] {
        assert_eq!(parse(text).unwrap().memory(), bytes, "{text}");
    }
}

#[test]
fn weak_hashes_say_why() {
    for (hash, _) in VECTORS {
        let prefix = split_prefix(hash).unwrap().0.to_uppercase();
        let expected = match prefix.as_str() {
            "$1$" | "{SSHA}" | "{SHA}" => Some(prefix.as_str()),
            "$APR1$" => Some("$apr1$"),
            "$PBKDF2-SHA1$" | "$PBKDF2-SHA512$" | "$PBKDF2-B64SALT-SHA256$"
                if hash.contains("$1000$") =>
            {
                Some("pbkdf2 with fewer than 100,000 rounds")
            }
            _ => None,
        };
        assert_eq!(parse(hash).unwrap().weakness(), expected, "{hash}");
    }
}

#[test]
fn what_is_made_is_recognised() {
    let hash = hash_password(&"changeme".into()).unwrap();
    let parsed = parse(&hash).unwrap();
    assert!(parsed.verify(&"changeme".into()));
    assert!(!parsed.verify(&"Changeme".into()));
    assert_eq!(parsed.memory(), 19 * 1024 * 1024);
    assert_eq!(parsed.weakness(), None);
    assert_ne!(hash, hash_password(&"changeme".into()).unwrap(), "salted");
}

#[test]
fn passwords_that_are_mistakes() {
    assert_eq!(hash_password(&"".into()), Err(HashError::Empty));
    assert_eq!(
        hash_password(&"x".repeat(1025).into()),
        Err(HashError::TooLong)
    );
}

/// Whether a check of what a test has made up is quick.
fn is_quick(text: &str, hash: &PasswordHash) -> bool {
    !text.starts_with("$2") && hash.memory() <= 2 * SMALL
}

proptest! {
    #[test]
    fn no_text_makes_a_panic(text in any::<String>()) {
        let _ = parse(&text);
    }

    /// One letter of a hash is replaced, removed or added, or its end is cut off.
    #[test]
    fn no_damaged_hash_makes_a_panic_or_is_quoted(
        vector in 0..VECTORS.len(),
        place in any::<prop::sample::Index>(),
        letter in "[ -~é]",
        how in 0..4,
    ) {
        let hash = VECTORS[vector].0;
        let at = place.index(hash.len());
        let text = match how {
            0 => format!("{}{letter}{}", &hash[..at], &hash[at + 1..]),
            1 => format!("{}{}", &hash[..at], &hash[at + 1..]),
            2 => format!("{}{letter}{}", &hash[..at], &hash[at..]),
            _ => hash[..at].to_owned(),
        };
        match parse(&text) {
            Ok(parsed) if is_quick(&text, &parsed) => {
                let _ = parsed.verify(&"password".into());
            }
            Ok(_) => {}
            Err(error) => {
                let fields = text.split(['$', '}']).filter(|field| field.len() > 20);
                for field in fields {
                    prop_assert!(!error.to_string().contains(field), "{error}");
                }
            }
        }
    }

    /// The crate computes with what the parameters say.
    #[test]
    fn no_parameters_of_yescrypt_make_a_panic(settings in "[./j][./0-9A-Za-z]{2,9}") {
        let text = format!("$y${settings}$LdJM$k7BXzSDuoGHW56SY3HxROCiA0gWRscZe2aA0q5oHPM0");
        if let Ok(parsed) = parse(&text) && is_quick(&text, &parsed) {
            prop_assert!(!parsed.verify(&"password".into()));
        }
    }
}
