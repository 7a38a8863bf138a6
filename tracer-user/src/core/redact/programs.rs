//! Secrets in the arguments of well-known programs, whose options do not name them.

/// Where a secret is in an argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Secret {
    /// All of it.
    Whole,
    /// What follows this character: `user:password`.
    After(char),
}

/// An option and its secret, which is the next argument or follows in the same one.
struct SecretOption {
    programs: &'static [&'static str],
    option: &'static str,
    secret: Secret,
    /// The secret may be the next argument.
    next: bool,
    /// The secret may follow in the same argument.
    attached: bool,
    /// Only if this word came before.
    after: Option<&'static str>,
}

const fn both(programs: &'static [&'static str], option: &'static str) -> SecretOption {
    SecretOption { programs, option, secret: Secret::Whole, next: true, attached: true, after: None }
}

const fn pair(programs: &'static [&'static str], option: &'static str, between: char) -> SecretOption {
    SecretOption { secret: Secret::After(between), ..both(programs, option) }
}

const fn attached(programs: &'static [&'static str], option: &'static str) -> SecretOption {
    SecretOption { next: false, ..both(programs, option) }
}

const fn next(programs: &'static [&'static str], option: &'static str) -> SecretOption {
    SecretOption { attached: false, ..both(programs, option) }
}

const fn login(programs: &'static [&'static str], option: &'static str) -> SecretOption {
    SecretOption { after: Some("login"), ..both(programs, option) }
}

const MYSQL: &[&str] = &[
    "mysql",
    "mysqldump",
    "mysqladmin",
    "mysqlimport",
    "mysqlcheck",
    "mariadb",
    "mariadb-dump",
    "mariadb-admin",
];
const MONGO: &[&str] = &["mongo", "mongosh", "mongodump", "mongorestore", "mongoexport", "mongoimport"];
const LDAP: &[&str] =
    &["ldapsearch", "ldapmodify", "ldapadd", "ldapdelete", "ldappasswd", "ldapwhoami", "ldapcompare"];
const ARCHIVES: &[&str] = &["7z", "7za", "7zr", "7zz", "rar", "unrar"];
const REGISTRIES: &[&str] = &["docker", "podman", "buildah", "nerdctl", "helm", "oras", "az", "crane"];
const SQLCMD: &[&str] = &["sqlcmd", "bcp", "isql", "ipmitool"];
const PUTTY: &[&str] = &["plink", "pscp", "psftp"];
const SAMBA: &[&str] = &["smbclient", "rpcclient", "smbget"];

const OPTIONS: &[SecretOption] = &[
    attached(MYSQL, "-p"),
    both(&["sshpass"], "-p"),
    pair(&["curl"], "-u", ':'),
    pair(&["curl"], "--user", ':'),
    pair(&["curl"], "-U", ':'),
    pair(&["curl"], "--proxy-user", ':'),
    pair(&["curl"], "-b", '='),
    next(&["redis-cli", "valkey-cli"], "-a"),
    both(MONGO, "-p"),
    login(REGISTRIES, "-p"),
    both(&["twine"], "-p"),
    pair(SAMBA, "-U", '%'),
    attached(ARCHIVES, "-p"),
    attached(ARCHIVES, "-hp"),
    both(&["zip", "unzip"], "-P"),
    both(LDAP, "-w"),
    next(PUTTY, "-pw"),
    attached(&["xfreerdp", "wlfreerdp", "xfreerdp3"], "/p:"),
    both(&["rdesktop"], "-p"),
    both(SQLCMD, "-P"),
    both(&["useradd", "usermod"], "-p"),
    pair(&["lftp"], "-u", ','),
];

/// The state of reading a command line, word by word.
#[derive(Debug, Default)]
pub struct Reader {
    program: Option<String>,
    seen: Vec<String>,
    next: Option<Secret>,
}

/// The part of a word that is a secret, as the position at which it begins.
pub type Begin = usize;

impl Reader {
    /// Where the secret in this word begins; `None`: it has none.
    pub fn word(&mut self, word: &str) -> Option<Begin> {
        if let Some(secret) = self.next.take() {
            return begin_in(secret, word, 0);
        }
        let name = word.rsplit('/').next().unwrap_or(word);
        if OPTIONS.iter().any(|it| it.programs.contains(&name)) || name == "sqlplus" {
            self.program = Some(name.to_owned());
            self.seen.clear();
            return None;
        }
        let program = self.program.clone()?;
        let found = OPTIONS.iter().filter(|it| {
            it.programs.contains(&program.as_str())
                && it.after.is_none_or(|needed| self.seen.iter().any(|seen| seen == needed))
        });
        let mut begin = None;
        for option in found {
            if word == option.option && option.next {
                self.next = Some(option.secret);
            } else if let Some(rest) = word.strip_prefix(option.option)
                && option.attached
                && !rest.is_empty()
                // A long option has its value after an equals sign, and `-p` is not the beginning of `-port`.
                && (!option.option.starts_with("--") || rest.starts_with('='))
            {
                begin = begin_in(option.secret, word, option.option.len());
            }
        }
        if program == "sqlplus" && begin.is_none() && word.contains('@') {
            begin = begin_in(Secret::After('/'), word, 0);
        }
        self.seen.push(word.to_owned());
        begin
    }
}

fn begin_in(secret: Secret, word: &str, from: usize) -> Option<Begin> {
    match secret {
        Secret::Whole => (word.len() > from).then_some(from),
        Secret::After(between) => {
            let at = from + word.get(from..)?.find(between)? + between.len_utf8();
            (at < word.len()).then_some(at)
        }
    }
}
