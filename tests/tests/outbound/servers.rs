//! Whom the agent calls: a server of HTTP and one of the DNS, which keep what they were asked.

use std::{
    io::{Read as _, Write as _},
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU8, Ordering},
    },
    thread,
};

/// What there was, in order; shared with whoever adds to it.
#[derive(Clone, Debug, Default)]
struct Asked(Arc<Mutex<Vec<String>>>);

/// How a server of HTTP answers.
#[derive(Clone, Debug)]
pub enum Answer {
    /// With nothing, and well.
    Empty,
    /// That what is asked for is there.
    Elsewhere(String),
    /// Never, and the connection stays.
    Never,
}

/// A server of HTTP on this machine.
#[derive(Debug)]
pub struct WebServer {
    address: SocketAddr,
    asked: Asked,
}

/// A server of the DNS on this machine, at the port that all ask: so it has an address of its own.
#[derive(Debug)]
pub struct NameServer {
    address: Ipv4Addr,
    asked: Asked,
}

// === impl Asked ===

impl Asked {
    fn lock(&self) -> MutexGuard<'_, Vec<String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl WebServer ===

impl WebServer {
    /// Starts one.
    pub fn start(answer: Answer) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("listen");
        let address = listener.local_addr().expect("its address");
        let asked = Asked::default();
        let kept = asked.clone();
        // It ends with the test.
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (kept, answer) = (kept.clone(), answer.clone());
                thread::spawn(move || serve(stream, &kept, &answer));
            }
        });
        Self { address, asked }
    }

    /// What is asked for here.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// The heads of all requests.
    pub fn asked(&self) -> Vec<String> {
        self.asked.lock().clone()
    }
}

fn serve(mut stream: TcpStream, asked: &Asked, answer: &Answer) {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        if !matches!(stream.read(&mut byte), Ok(1)) {
            return;
        }
        head.push(byte[0]);
    }
    asked.lock().push(String::from_utf8(head).expect("a head in ASCII"));
    let answer = match answer {
        Answer::Empty => "HTTP/1.1 204 No Content\r\n\r\n".to_owned(),
        Answer::Elsewhere(url) => {
            format!("HTTP/1.1 302 Found\r\nLocation: {url}\r\nContent-Length: 0\r\n\r\n")
        }
        Answer::Never => String::new(),
    };
    // Whoever asked may have gone. It is waited for until then.
    let _ = stream.write_all(answer.as_bytes());
    let _ = stream.read(&mut byte);
}

// === impl NameServer ===

impl NameServer {
    /// Starts one. Names that begin with `nowhere` don't exist, all others are this machine's.
    pub fn start() -> Self {
        // Each one of this process its own, since none ends before that does.
        static LAST: AtomicU8 = AtomicU8::new(53);
        let [.., high, low] = std::process::id().to_be_bytes();
        let address = Ipv4Addr::new(127, high, low, LAST.fetch_add(1, Ordering::Relaxed));
        let socket = UdpSocket::bind((IpAddr::from(address), 53)).expect("listen at port 53");
        let asked = Asked::default();
        let kept = asked.clone();
        thread::spawn(move || {
            let mut packet = [0; 512];
            while let Ok((length, from)) = socket.recv_from(&mut packet) {
                let (question, answer) = answer(&packet[..length]);
                kept.lock().push(question);
                let _ = socket.send_to(&answer, from);
            }
        });
        Self { address, asked }
    }

    /// Its address.
    pub fn address(&self) -> Ipv4Addr {
        self.address
    }

    /// The names that it was asked for, each once for each type of address.
    pub fn asked(&self) -> Vec<String> {
        self.asked.lock().clone()
    }
}

/// The name that a query is about, and what it is answered (RFC 1035, section 4.1).
fn answer(query: &[u8]) -> (String, Vec<u8>) {
    const HEAD: usize = 12;
    const TYPE_A: [u8; 2] = [0, 1];
    let mut labels = Vec::new();
    let mut at = HEAD;
    while query[at] != 0 {
        let end = at + 1 + usize::from(query[at]);
        labels.push(String::from_utf8(query[at + 1..end].to_vec()).expect("a label in ASCII"));
        at = end;
    }
    // The name's end, its type and class.
    let question = &query[HEAD..at + 5];
    let name = labels.join(".");
    let missing = name.starts_with("nowhere");
    let found = !missing && question[at + 1 - HEAD..][..2] == TYPE_A;
    let mut answer = query[..2].to_vec();
    // An answer, with recursion; NXDOMAIN is 3.
    answer.extend([0x85, if missing { 0x83 } else { 0x80 }, 0, 1, 0, u8::from(found), 0, 0, 0, 0]);
    answer.extend(question);
    if found {
        // The question's name, A, IN, a minute, four bytes.
        answer.extend([0xc0, HEAD as u8, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 127, 0, 0, 1]);
    }
    (name, answer)
}
