//! The corpus: what has to vanish, and what has to stay.

use proptest::prelude::*;

use super::*;

fn redacted(words: &[&str]) -> Vec<String> {
    argv(&words.iter().map(|word| ByteString::from(*word)).collect::<Vec<_>>())
}

/// Command lines with a secret, each written as `S3CR3T` or with the token of a service in it, and what has
/// to vanish from it. Words are separated by `|`. No token here opens anything. They are put together from
/// parts, so that a scanner of this repository finds none.
fn secrets() -> Vec<(String, String)> {
    let hex = "0123456789abcdef0123456789abcdef0123456789abcdef";
    let mixed = "aB3dE5gH7jK9mN1pQ3sT5vW7yZ9aB3dE5gH7jK9mN1pQ3";
    let upper = "ABCDEFGH23456789IJKLMNOP";
    let mut all = Vec::new();
    let prefixed = [
        ("AKIA", &upper[..16]),
        ("ASIA", &upper[..16]),
        ("ghp_", &mixed[..36]),
        ("gho_", &mixed[..36]),
        ("ghs_", &mixed[..36]),
        ("github_pat_", mixed),
        ("glpat-", &mixed[..20]),
        ("glrt-", &mixed[..20]),
        ("xoxb-", "123456789012-abcdefghij"),
        ("xapp-", "1-A012-345-abcdef"),
        ("sk-", mixed),
        ("sk-proj-", mixed),
        ("sk-ant-api03-", mixed),
        ("sk_live_", &mixed[..24]),
        ("whsec_", &mixed[..32]),
        ("AIza", &mixed[..35]),
        ("ya29.", &mixed[..40]),
        ("npm_", &mixed[..36]),
        ("pypi-", mixed),
        ("dckr_pat_", &mixed[..27]),
        ("hf_", &mixed[..34]),
        ("SG.", mixed),
        ("shpat_", &hex[..32]),
        ("dop_v1_", hex),
        ("hvs.", &mixed[..24]),
        ("rubygems_", hex),
        ("NRAK-", upper),
        ("tskey-", &mixed[..30]),
        ("glsa_", &mixed[..32]),
        ("sntrys_", mixed),
        ("figd_", mixed),
        ("PMAK-", mixed),
    ];
    for (prefix, rest) in prefixed {
        let token = format!("{prefix}{rest}");
        all.push((format!("deploy|{token}"), token.clone()));
        all.push((format!("sh|-c|tool login {token} && make"), token));
    }
    let jwt = format!("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.{}", &mixed[..20]);
    all.push((format!("app|{jwt}"), jwt));
    let telegram = format!("AA{}", &mixed[..33]);
    all.push((format!("curl|https://api.telegram.org/bot123456789:{telegram}/getMe"), telegram));
    let path = format!("T000/B000/{}", &mixed[..24]);
    all.push((format!("curl|https://hooks.slack.com/services/{path}"), mixed[..24].to_owned()));
    let pem = "-----BEGIN RSA PRIVATE KEY-----\nS3CR3T\n-----END RSA PRIVATE KEY-----";
    let worded = [
        "x|--token|S3CR3T|y",
        "x|--api-key=S3CR3T",
        "env|GITHUB_TOKEN=S3CR3T|run",
        "env|PGPASSWORD=S3CR3T|psql",
        "env|MYSQL_PWD=S3CR3T|mysql",
        "env|FTP_PASS=S3CR3T|x",
        "env|TOKEN_GITHUB=S3CR3T|x",
        "env|AWS_SECRET_ACCESS_KEY=S3CR3T/a+b|x",
        "curl|-H|Authorization: Bearer S3CR3T",
        "curl|-H|Authorization: Basic S3CR3T=",
        "curl|-H|Proxy-Authorization: token S3CR3T",
        "curl|-H|X-Api-Key: S3CR3T",
        "curl|-H|PRIVATE-TOKEN: S3CR3T",
        "curl|-H|Cookie: session=S3CR3T; other=S3CR3T",
        "curl|-b|session=S3CR3T|https://host",
        "curl|-u|user:S3CR3T|https://host",
        "curl|-uuser:S3CR3T|https://host",
        "curl|--user|user:S3CR3T|https://host",
        "curl|--user=user:S3CR3T|https://host",
        "curl|https://host/a?access_token=S3CR3T&x=1",
        "curl|https://host/a?sv=1&sig=S3CR3TS3CR3TS3CR3TS3CR3T%3D&x=1",
        "curl|-d|{\"user\":\"u\",\"password\":\"S3CR3T\"}|https://host",
        "curl|-d|{\\\"token\\\": \\\"S3CR3T\\\"}|https://host",
        "git|clone|https://u:S3CR3T@host/x",
        "git|clone|https://S3CR3T@host/x",
        "ftp|user:S3CR3T@host",
        "psql|postgres://u:S3CR3T@db:5432/x",
        "redis-cli|-u|redis://:S3CR3T@host",
        "redis-cli|-a|S3CR3T|ping",
        "mysql|-u|root|-pS3CR3T|db",
        "sudo|mysqldump|-pS3CR3T|db",
        "sshpass|-p|S3CR3T|ssh|host",
        "sshpass|-pS3CR3T|ssh|host",
        "docker|login|-u|u|-p|S3CR3T|registry",
        "mongosh|-u|u|-p|S3CR3T",
        "smbclient|-U|user%S3CR3T|//host/x",
        "7z|a|-pS3CR3T|a.7z",
        "unzip|-P|S3CR3T|a.zip",
        "ldapsearch|-D|cn=x|-w|S3CR3T",
        "openssl|enc|-passin|pass:S3CR3T",
        "plink|-pw|S3CR3T|host",
        "keytool|-storepass|S3CR3T",
        "java|-Djavax.net.ssl.keyStorePassword=S3CR3T|-jar|x",
        "aws|configure|set|aws_secret_access_key|S3CR3T",
        "npm|config|set|//registry/:_authToken|S3CR3T",
        "sqlplus|scott/S3CR3T@db",
        "skopeo|copy|--src-creds|u:S3CR3T|a|b",
        "sh|-c|mysql -u root -pS3CR3T db",
        "sh|-c|curl -u 'user:S3CR3T' https://host",
        "sh|-c|tool --token 'S3CR3T S3CR3T' --other",
        "sh|-c|DB_PASSWORD='S3CR3T' run --dbPassword=S3CR3T -x",
        "sh|-c|echo \"{\\\"secret\\\":\\\"S3CR3T\\\"}\"",
        "connect|Server=db;User Id=u;Password=S3CR3T;",
        "connect|AccountName=x;AccountKey=S3CR3T==;Endpoint=y",
    ];
    all.extend(worded.into_iter().chain([pem]).map(|it| (it.to_owned(), "S3CR3T".to_owned())));
    all
}

#[test]
fn at_least_sixty_kinds_of_secrets_vanish() {
    let all = secrets();
    assert!(all.len() >= 60, "{}", all.len());
    for (command, secret) in all {
        let words: Vec<&str> = command.split('|').collect();
        let shown = redacted(&words).join(" ");
        assert!(!shown.contains(&secret), "{command}\nshows {shown}");
        let shown = line(&words.join(" "));
        assert!(
            words.len() > 1 && !shown.contains(&secret) || words.len() == 1,
            "{command}\nas text: {shown}"
        );
        assert!(redacted(&words).len() == words.len(), "no word vanishes");
    }
}

#[test]
fn at_least_thirty_look_alikes_stay() {
    let all = [
        "ssh|-o|StrictHostKeyChecking=no|-o|UserKnownHostsFile=/dev/null|host",
        "ssh|-p|2222|git@host",
        "ssh|-i|/srv/u/.ssh/id_ed25519|host",
        "mkdir|-p|a/b/c",
        "docker|run|-p|8080:80|-u|1000:1000|nginx:1.25@sha256:0123456789abcdef",
        "docker|build|-t|registry:5000/team/app:1.2|.",
        "psql|-p|5432|-h|db",
        "mysql|-p|db",
        "mysql|--port=3306",
        "llm|--max-tokens=4096|--max-token=5|--tokenizer=bpe",
        "app|TOKEN_LIMIT=100|TOKEN_COUNT=7|MAX_TOKENS=9",
        "app|--key-file=/etc/x.key|--key|server.pem|--ssl-key=/etc/x",
        "app|--password-file|/run/secrets/db",
        "app|--password=$DB_PASSWORD|--token=${TOKEN}",
        "app|--no-password|prompt",
        "app|PWD=/srv/u/src|OLDPWD=/tmp",
        "app|--sort-key=name|--primary-key=id|--cache-key=linux-x",
        "app|--monkey=x|--keyboard=us|--compass=n|bypass=1|secretary=joe",
        "app|role=owner|a=b:c|https://host:80/p",
        "app|--token|--other|x",
        "git|clone|git@github.com:org/repo.git",
        "git|clone|ssh://git@github.com/org/repo",
        "git|clone|https://git@host/repo",
        "git|checkout|0123456789abcdef0123456789abcdef01234567",
        "npm|install|alias@npm:react@18.2.0|@scope/pkg@1.0.0",
        "pytest|tests/test_auth.py::test_token[key-1]|-k|password",
        "pytest|-p|no:cacheprovider|-n|4",
        "cargo|test|--features|secret-key,token",
        "go|test|-run|TestBearerTokenIsRefused",
        "kubectl|-n|kube-system|get|secret|db-credentials",
        "make|-j4|SK=1|sk-learn-compatible-estimator-checks",
        "curl|-b|cookies|-c|cookies|-H|Accept: text/html|https://host",
        "curl|-X|POST|-d|{\"count\": 3, \"max_tokens\": 5}|https://host:8443/x",
        "openssl|x509|-in|a.crt|-noout|-pubkey",
        "echo|-----BEGIN CERTIFICATE-----",
        "echo|the bearer of this letter",
        "mailer|mailto:joe@example.org|joe@example.org",
        "java|-Xmx2g|-Dfile.encoding=UTF-8|-cp|a.jar:b.jar|Main",
        "python|-m|http.server|8000|--bind|127.0.0.1",
        "rsync|-a|host:dir/|./",
        "date|+%H:%M:%S|-d|12:30",
        "aws|s3|cp|s3://bucket/key|.|--sse|aws:kms",
    ];
    assert!(all.len() >= 30);
    for command in all {
        let words: Vec<&str> = command.split('|').collect();
        assert_eq!(redacted(&words), words);
        assert_eq!(line(&words.join(" ")), words.join(" "));
    }
}

#[test]
fn what_is_around_a_secret_stays() {
    assert_eq!(redacted(&["x", "--token", "abc", "y"]), ["x", "--token", "***", "y"]);
    assert_eq!(redacted(&["curl", "-u", "user:abc", "host"]), ["curl", "-u", "user:***", "host"]);
    assert_eq!(redacted(&["curl", "-H", "Authorization: Bearer abc"]), ["curl", "-H", "Authorization: ***"]);
    assert_eq!(redacted(&["git", "clone", "https://u:abc@host/x"]), ["git", "clone", "https://u:***@host/x"]);
    assert_eq!(
        redacted(&["sh", "-c", "DB_PASSWORD='a b' run --dbPassword=abc -x"]),
        ["sh", "-c", "DB_PASSWORD=*** run --dbPassword=*** -x"]
    );
    assert_eq!(line("{\"user\":\"u\",\"password\":\"abc\"}"), "{\"user\":\"u\",\"password\":***}");
}

proptest! {
    #[test]
    fn any_text_is_redacted_without_panic(text in "\\PC{0,40}[=:]?[a-z@/ '\"é\\\\]{0,20}") {
        line(&text);
        redacted(&[&text, &text]);
    }

    #[test]
    fn words_of_a_command_are_redacted_without_panic(
        words in proptest::collection::vec("(curl|mysql|-u|-p|-pé|--user=|sqlplus|é:|a/é@|\"|'é|-----BEGIN |set|_token|bearer )", 0..6)
    ) {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        prop_assert_eq!(redacted(&words).len(), words.len());
        line(&words.concat());
        line(&words.join(" "));
    }

    #[test]
    fn the_secret_never_appears(secret in "[A-Z0-9]{8,20}", word in "(token|PASSWORD|api_key|clientSecret)") {
        let shown = line(&format!("a {word}={secret} b"));
        prop_assert!(!shown.contains(&secret));
        let argv = redacted(&[&format!("--{word}"), &secret]);
        prop_assert!(!argv.join(" ").contains(&secret));
    }
}
