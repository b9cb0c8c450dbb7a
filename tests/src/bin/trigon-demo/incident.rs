//! What happens: a shell from outside in a container, and a leak.

use std::{
    fs,
    io::Write as _,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use tempfile::TempDir;
use trigon_tests::{
    cgroup::Cgroup,
    container::Container,
    otlp::{Attributes as _, Origin},
    wait,
};

use crate::trace::Trace;

/// Nobody's.
pub const PASSWORD: &str = "Tr0ub4dor-and-3-more";

/// What the shell is given; `PASSWORD` stands for the password. The last line is how one leaves no history behind.
const TYPED: &str = "\
id
cat /etc/shadow > /dev/null
ls /var/lib/secrets
cd /srv
./backup.sh --host=db.internal --password=PASSWORD
kill -KILL $$
";

/// A script that takes its password as an argument: what `ps` and audit logs show to all.
const BACKUP: &str = "\
#!/bin/sh
gzip -c /etc/passwd > backup.gz
";

/// Command lines of the executions that must be in the trace, and how each ended: by `exit` or a signal.
const EXECUTIONS: [(&str, &str); 7] = [
    ("nsenter", "SIGKILL"),
    ("/bin/bash", "SIGKILL"),
    ("id", "exit 0"),
    ("cat /etc/shadow", "exit 0"),
    ("ls /var/lib/secrets", "exit 2"),
    ("/bin/sh ./backup.sh --host=db.internal", "exit 0"),
    ("gzip -c /etc/passwd", "exit 0"),
];

/// The stage. All of it goes when it is dropped, in this order.
#[derive(Debug)]
pub struct Incident {
    container: Container,
    cgroup: Cgroup,
    id: String,
    folder: TempDir,
}

// === impl Incident ===

impl Incident {
    /// Starts the container: processes, mounts and a cgroup of its own, with a script in its `/srv`.
    pub fn prepare() -> Self {
        let folder = TempDir::with_prefix("trigon-demo-").expect("make a folder");
        let srv = folder.path().join("srv");
        fs::create_dir(&srv).expect("make a folder");
        let script = srv.join("backup.sh");
        fs::write(&script, BACKUP).expect("write the script");
        fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).expect("make the script executable");
        let id = random_id();
        let cgroup = Cgroup::new(&format!("trigon-demo.slice/cri-containerd-{id}.scope"));
        let prepare = format!(
            "echo 0 > {}/cgroup.procs; mount --bind {} /srv",
            cgroup.folder().display(),
            srv.display()
        );
        let container = Container::start(&prepare, "exec sleep infinity");
        // So that its own start is none of the incident.
        let comm = format!("/proc/{}/comm", container.init());
        let sleeps = || fs::read_to_string(&comm).is_ok_and(|comm| comm == "sleep\n").then_some(());
        wait::until("the container's first process", sleeps, || {
            fs::read_to_string(&comm).unwrap_or_default()
        });
        Self { container, cgroup, id, folder }
    }

    /// The container's id.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// As much of the id as people are shown.
    pub fn short_id(&self) -> &str {
        &self.id[..12]
    }

    /// What the shell is given.
    pub fn typed(&self) -> impl Iterator<Item = String> {
        TYPED.lines().map(|line| line.replace("PASSWORD", PASSWORD))
    }

    /// Where the agent is to write JSON lines, of the whole machine.
    pub fn json_path(&self) -> PathBuf {
        self.folder.path().join("events.json")
    }

    /// What the agent wrote there.
    pub fn json_lines(&self) -> String {
        fs::read_to_string(self.json_path()).expect("read the agent's JSON lines")
    }

    /// Lets it happen. Returns the process that entered the container, as the host counts.
    pub fn play(&self) -> i64 {
        let (reader, mut writer) = std::io::pipe().expect("make a pipe");
        writer.write_all(TYPED.replace("PASSWORD", PASSWORD).as_bytes()).expect("type the commands");
        drop(writer);
        // As a container's runtime does it: into the cgroup first, then into the namespaces.
        let enter = self.container.enter(Path::new("/bin/bash"), [""; 0]);
        let mut shell = Command::new("sh");
        shell.args(["-c", "echo 0 > \"$0/cgroup.procs\" && exec \"$@\""]).arg(self.cgroup.folder());
        shell.arg(enter.get_program()).args(enter.get_args());
        shell.env_clear().env("PATH", "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin").current_dir("/");
        let shell =
            shell.stdin(reader).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("run a shell");
        let pid = shell.id().into();
        let output = shell.wait_with_output().expect("wait for the shell");
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(
            out.starts_with("uid=0") && err.contains("/var/lib/secrets"),
            "the incident didn't happen: {}\n{out}{err}",
            output.status
        );
        pid
    }

    /// A record is about a process in the container.
    pub fn is_within(&self, origin: &Origin) -> bool {
        origin.text("container.id") == Some(&self.id)
    }

    /// Checks that there is a line for each start and end, and for the file.
    pub fn check_lines(&self, lines: &[String]) {
        for words in
            [" /usr/bin/id", " /etc/shadow", " /var/lib/secrets 2", " --host=db.internal", " SIGKILL"]
        {
            assert!(lines.iter().any(|line| line.contains(words)), "no compact line with `{words}`");
        }
    }

    /// Checks that the trace has every execution, as it ended, and what the policies saw.
    pub fn check_trace(&self, trace: &Trace<'_>) {
        for (command, end) in EXECUTIONS {
            assert!(trace.has(command, end), "no span of `{command}` that ended with {end}");
        }
        for policy in crate::POLICIES {
            assert!(trace.has_match(policy), "no span with an event of the policy {policy}");
        }
    }
}

/// 64 hexadecimal digits, as runtimes name containers.
fn random_id() -> String {
    let uuid = || fs::read_to_string("/proc/sys/kernel/random/uuid").expect("read random digits");
    (uuid() + &uuid()).chars().filter(char::is_ascii_hexdigit).collect()
}
