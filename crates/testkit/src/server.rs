//! An HTTP server for tests that does what it is told: answers, breaks off, dawdles, or is silent.
//!
//! It listens on a free port of 127.0.0.1, serves each connection on a thread of its own, and writes down what it is
//! asked. Bodies of any size are sent without being held in memory. Dropping it ends all of its threads, whatever they
//! are doing, so that a test that fails does not hang.
//!
//! It speaks as much of HTTP/1.1 as that takes: requests with a `Content-Length` or without a body, connections that
//! are used again, and answers with a length or in chunks. There is no TLS.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// How often a thread that waits looks whether the server ends.
const POLL: Duration = Duration::from_millis(10);

const MAX_HEAD_BYTES: usize = 64 << 10;

const MAX_BODY_BYTES: usize = 64 << 20;

/// A request, as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// `GET`, `POST`, ….
    pub method: String,
    /// What was asked for, a query included: `/v1/models?limit=1`.
    pub path: String,
    /// Names and values, in the order in which they came.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl Request {
    /// The value of a header, whatever the case of its name.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.headers.iter();
        let (_, value) = headers.find(|(known, _)| known.eq_ignore_ascii_case(name))?;
        Some(value)
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    ///
    /// # Panics
    /// If it is none.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{} {}: {error}", self.method, self.path))
    }
}

/// What the server does with a request.
///
/// Steps are done in the order in which they are added. The length that is announced is that of all data, those behind
/// a [`cut`](Self::cut) included: an answer that breaks off in the middle is
/// `Reply::new(200).data("half").cut().data(" missing")`.
#[derive(Clone, Debug)]
pub struct Reply {
    status: u16,
    headers: Vec<(String, String)>,
    steps: Vec<Step>,
    chunked: bool,
}

#[derive(Clone, Debug)]
enum Step {
    Data { bytes: Vec<u8>, times: u64 },
    Wait(Duration),
    Hang,
    Cut,
}

impl Reply {
    /// An answer with this status, without a body as yet.
    pub fn new(status: u16) -> Self {
        Self {
            status,
            headers: Vec::new(),
            steps: Vec::new(),
            chunked: false,
        }
    }

    /// An answer of JSON.
    pub fn json(status: u16, body: &serde_json::Value) -> Self {
        Self::new(status)
            .header("Content-Type", "application/json")
            .data(body.to_string())
    }

    /// An answer with a file, or with the end of it if the request says `Range: bytes=N-`.
    pub fn file(request: &Request, contents: &[u8]) -> Self {
        let range = request.header("range").unwrap_or_default();
        let start = range
            .strip_prefix("bytes=")
            .and_then(|range| range.strip_suffix('-'));
        let length = contents.len();
        match start.and_then(|start| start.parse::<usize>().ok()) {
            None => Self::new(200).data(contents),
            Some(start) if start >= length => {
                Self::new(416).header("Content-Range", &format!("bytes */{length}"))
            }
            Some(start) => Self::new(206)
                .header(
                    "Content-Range",
                    &format!("bytes {start}-{}/{length}", length - 1),
                )
                .data(&contents[start..]),
        }
    }

    /// No answer, not even a status: the connection stays open and silent.
    pub fn silence() -> Self {
        Self::new(0).hang()
    }

    /// No answer: the connection is closed.
    pub fn close() -> Self {
        Self::new(0).cut()
    }

    /// Adds a header. `Content-Length` takes the place of the one that would be computed.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Sends the body in chunks, one for each [`data`](Self::data), without saying its length.
    pub fn chunked(mut self) -> Self {
        self.chunked = true;
        self
    }

    /// Adds data to the body, which are sent at once.
    pub fn data(self, bytes: impl Into<Vec<u8>>) -> Self {
        self.repeat(bytes, 1)
    }

    /// Adds the same data many times, for bodies that are too large to hold.
    pub fn repeat(self, bytes: impl Into<Vec<u8>>, times: u64) -> Self {
        let bytes = bytes.into();
        self.step(Step::Data { bytes, times })
    }

    /// Waits before it goes on.
    pub fn wait(self, duration: Duration) -> Self {
        self.step(Step::Wait(duration))
    }

    /// Sends nothing more, but leaves the connection open.
    pub fn hang(self) -> Self {
        self.step(Step::Hang)
    }

    /// Sends nothing more, and closes the connection.
    pub fn cut(self) -> Self {
        self.step(Step::Cut)
    }

    fn step(mut self, step: Step) -> Self {
        self.steps.push(step);
        self
    }

    fn head(&self) -> String {
        let mut head = format!("HTTP/1.1 {} Scripted\r\n", self.status);
        for (name, value) in &self.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        let has_length = |(name, _): &(String, String)| name.eq_ignore_ascii_case("content-length");
        if self.chunked {
            head.push_str("Transfer-Encoding: chunked\r\n");
        } else if self.has_body() && !self.headers.iter().any(has_length) {
            let lengths = self.steps.iter().map(|step| match step {
                Step::Data { bytes, times } => bytes.len() as u64 * times,
                _ => 0,
            });
            head.push_str(&format!("Content-Length: {}\r\n", lengths.sum::<u64>()));
        }
        head + "\r\n"
    }

    fn has_body(&self) -> bool {
        !matches!(self.status, 100..=199 | 204 | 304)
    }
}

/// A server that answers as a test tells it; see the [module docs](self).
///
/// ```
/// use std::io::{Read, Write};
/// use kinvert_testkit::server::{Reply, ScriptedServer};
///
/// let server = ScriptedServer::replies([Reply::new(200).data("hello")]);
/// let mut connection = std::net::TcpStream::connect(server.address()).unwrap();
/// connection.write_all(b"GET /greeting HTTP/1.1\r\nConnection: close\r\n\r\n").unwrap();
/// let mut answer = String::new();
/// connection.read_to_string(&mut answer).unwrap();
/// assert!(answer.ends_with("\r\n\r\nhello"));
/// assert_eq!(server.requests()[0].path, "/greeting");
/// ```
pub struct ScriptedServer {
    address: SocketAddr,
    shared: Arc<Shared>,
    listener: Option<JoinHandle<()>>,
}

struct Shared {
    answer: Box<dyn Fn(&Request) -> Reply + Send + Sync>,
    requests: Mutex<Vec<Request>>,
    stopped: AtomicBool,
}

impl ScriptedServer {
    /// Starts a server that answers each request as `answer` says. Requests of several connections may be answered at
    /// the same time.
    ///
    /// # Panics
    /// If there is no port or thread to be had.
    pub fn start(answer: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("the port that was bound");
        let shared = Arc::new(Shared {
            answer: Box::new(answer),
            requests: Mutex::default(),
            stopped: AtomicBool::new(false),
        });
        let of_thread = shared.clone();
        let listener = thread::Builder::new()
            .name("scripted-server".into())
            .spawn(move || listen(&listener, &of_thread))
            .expect("a thread");
        Self {
            address,
            shared,
            listener: Some(listener),
        }
    }

    /// Starts a server that gives these replies one after the other, whatever is asked. What is asked beyond them is
    /// answered with status 599.
    pub fn replies(replies: impl IntoIterator<Item = Reply>) -> Self {
        let left: Mutex<VecDeque<Reply>> = Mutex::new(replies.into_iter().collect());
        Self::start(move |_| {
            let next = lock(&left).pop_front();
            next.unwrap_or_else(|| Reply::new(599).data("no reply is left in the script"))
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The address of a path: `http://127.0.0.1:40000/v1`.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// What it was asked so far, in the order in which requests were whole.
    pub fn requests(&self) -> Vec<Request> {
        lock(&self.shared.requests).clone()
    }
}

impl Drop for ScriptedServer {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect_timeout(&self.address, Duration::from_secs(1)); // wakes the listener
        if let Some(listener) = self.listener.take() {
            let _ = listener.join(); // a panic of the test's closure has been printed
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn listen(listener: &TcpListener, shared: &Arc<Shared>) {
    let mut connections = Vec::new();
    for stream in listener.incoming() {
        if shared.is_stopped() {
            break;
        }
        let Ok(stream) = stream else { continue };
        let shared = shared.clone();
        // What goes wrong with a connection is for the client to notice.
        connections.push(thread::spawn(move || {
            let _ = serve(stream, &shared);
        }));
    }
    for connection in connections {
        let _ = connection.join();
    }
}

/// Serves a connection until one side ends it.
fn serve(mut stream: TcpStream, shared: &Shared) -> io::Result<()> {
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(POLL))?;
    stream.set_write_timeout(Some(POLL))?;
    let mut received = Vec::new();
    while let Some(request) = read_request(&mut stream, &mut received, shared)? {
        lock(&shared.requests).push(request.clone());
        let reply = (shared.answer)(&request);
        let goes_on = send(&mut stream, &reply, &request, shared)?;
        let closes = |value: &str| value.eq_ignore_ascii_case("close");
        if !goes_on || request.header("connection").is_some_and(closes) {
            break;
        }
    }
    stream.shutdown(Shutdown::Write)?;
    // A socket that is closed with something unread resets the connection, and the client may lose what was sent.
    while read_some(&mut stream, &mut received, shared)? > 0 {
        received.clear();
    }
    Ok(())
}

/// Sends a reply. False if the connection ends with it.
fn send(
    stream: &mut TcpStream,
    reply: &Reply,
    request: &Request,
    shared: &Shared,
) -> io::Result<bool> {
    if reply.status != 0 {
        shared.write(stream, reply.head().as_bytes())?;
        if request.method == "HEAD" || !reply.has_body() {
            return Ok(true);
        }
    }
    for step in &reply.steps {
        match step {
            Step::Data { bytes, times } => {
                let chunk = match reply.chunked {
                    _ if bytes.is_empty() => continue, // an empty chunk would be the last
                    true => {
                        let size = format!("{:x}\r\n", bytes.len());
                        [size.as_bytes(), bytes, b"\r\n"].concat()
                    }
                    false => bytes.clone(),
                };
                for _ in 0..*times {
                    shared.write(stream, &chunk)?;
                }
            }
            Step::Wait(duration) => shared.wait(*duration)?,
            Step::Hang => loop {
                shared.wait(POLL)?;
            },
            Step::Cut => return Ok(false),
        }
    }
    if reply.chunked {
        shared.write(stream, b"0\r\n\r\n")?;
    }
    Ok(true)
}

impl Shared {
    fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Relaxed)
    }

    fn go_on(&self) -> io::Result<()> {
        if self.is_stopped() {
            return Err(io::Error::other("the server ends"));
        }
        Ok(())
    }

    fn wait(&self, duration: Duration) -> io::Result<()> {
        let began = Instant::now();
        while began.elapsed() < duration {
            self.go_on()?;
            thread::sleep(POLL.min(duration.saturating_sub(began.elapsed())));
        }
        self.go_on()
    }

    fn write(&self, stream: &mut TcpStream, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            self.go_on()?;
            match stream.write(bytes) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(count) => bytes = &bytes[count..],
                Err(error) if is_timeout(&error) => {} // the client does not read at the moment
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted
    )
}

/// Reads a request; `received` holds what came beyond the last one. None if the client has ended the connection.
fn read_request(
    stream: &mut TcpStream,
    received: &mut Vec<u8>,
    shared: &Shared,
) -> io::Result<Option<Request>> {
    let invalid = |what: &str| io::Error::new(ErrorKind::InvalidData, what);
    let head_end = loop {
        let end = received.windows(4).position(|bytes| bytes == b"\r\n\r\n");
        if let Some(end) = end {
            break end;
        }
        if received.len() > MAX_HEAD_BYTES {
            return Err(invalid("a head that does not end"));
        }
        if read_some(stream, received, shared)? == 0 {
            return Ok(None);
        }
    };
    let head = String::from_utf8_lossy(&received[..head_end]).into_owned();
    received.drain(..head_end + 4);
    let mut lines = head.split("\r\n");
    let mut words = lines.next().unwrap_or_default().split(' ');
    let mut word = || words.next().unwrap_or_default().to_string();
    let mut request = Request {
        method: word(),
        path: word(),
        headers: lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_string(), value.trim().to_string()))
            .collect(),
        body: Vec::new(),
    };
    if request.header("transfer-encoding").is_some() {
        return Err(invalid("a body without a length"));
    }
    let length = request.header("content-length").unwrap_or("0").parse();
    let length: usize = length.map_err(|_| invalid("a length that is no number"))?;
    if length > MAX_BODY_BYTES {
        return Err(invalid("too large a body"));
    }
    while received.len() < length {
        if read_some(stream, received, shared)? == 0 {
            return Ok(None);
        }
    }
    request.body = received.drain(..length).collect();
    Ok(Some(request))
}

/// Waits until something comes. Zero if the client has ended the connection.
fn read_some(stream: &mut TcpStream, received: &mut Vec<u8>, shared: &Shared) -> io::Result<usize> {
    let mut buffer = [0; 16 << 10];
    loop {
        shared.go_on()?;
        match stream.read(&mut buffer) {
            Ok(count) => {
                received.extend_from_slice(&buffer[..count]);
                return Ok(count);
            }
            Err(error) if is_timeout(&error) => {}
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sends requests over one connection, and returns all that comes back until it ends.
    fn exchange(server: &ScriptedServer, requests: &str) -> String {
        let mut connection = TcpStream::connect(server.address()).unwrap();
        connection
            .set_read_timeout(Some(Duration::from_secs(10)))
            .unwrap();
        connection.write_all(requests.as_bytes()).unwrap();
        let mut answer = Vec::new();
        connection.read_to_end(&mut answer).unwrap();
        String::from_utf8(answer).unwrap()
    }

    #[test]
    fn requests_are_recorded_and_answered_in_turn() {
        let server = ScriptedServer::replies([
            Reply::new(200).header("X-Name", "value").data("one"),
            Reply::new(206).chunked().data("t").data("").data("wo"),
        ]);
        let answers = exchange(
            &server,
            "POST /a?b HTTP/1.1\r\nContent-Length: 4\r\nrange: bytes=1-\r\n\r\nbody\
             GET /c HTTP/1.1\r\n\r\nHEAD /d HTTP/1.1\r\nConnection: close\r\n\r\n",
        );
        let expected = "HTTP/1.1 200 Scripted\r\nX-Name: value\r\nContent-Length: 3\r\n\r\none\
                        HTTP/1.1 206 Scripted\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nt\r\n2\r\nwo\r\n0\r\n\r\n\
                        HTTP/1.1 599 Scripted\r\nContent-Length: 30\r\n\r\n";
        assert_eq!(answers, expected);
        let requests = server.requests();
        assert_eq!(
            (requests[0].method.as_str(), requests[0].path.as_str()),
            ("POST", "/a?b")
        );
        assert_eq!(requests[0].header("Range"), Some("bytes=1-"));
        assert_eq!(requests[0].text(), "body");
        assert_eq!(requests.len(), 3);
    }

    #[test]
    fn an_answer_can_end_before_its_length() {
        let server = ScriptedServer::replies([
            Reply::new(200).data("half").cut().data(" missing"),
            Reply::close(),
        ]);
        let answer = exchange(&server, "GET / HTTP/1.1\r\n\r\n");
        assert!(
            answer.ends_with("Content-Length: 12\r\n\r\nhalf"),
            "{answer}"
        );
        assert_eq!(exchange(&server, "GET / HTTP/1.1\r\n\r\n"), "");
    }

    #[test]
    fn the_end_of_a_file_can_be_asked_for() {
        let server = ScriptedServer::start(|request| Reply::file(request, b"0123456789"));
        let ask = |range: &str| {
            exchange(
                &server,
                &format!("GET / HTTP/1.1\r\n{range}Connection: close\r\n\r\n"),
            )
        };
        assert!(ask("").ends_with("Content-Length: 10\r\n\r\n0123456789"));
        let rest = ask("Range: bytes=7-\r\n");
        assert!(
            rest.starts_with("HTTP/1.1 206") && rest.ends_with("\r\n\r\n789"),
            "{rest}"
        );
        assert!(rest.contains("Content-Range: bytes 7-9/10\r\n"), "{rest}");
        assert!(ask("Range: bytes=10-\r\n").starts_with("HTTP/1.1 416"));
    }

    #[test]
    fn a_large_body_is_sent_piece_by_piece() {
        let server = ScriptedServer::start(|_| Reply::new(200).repeat([b'x'; 1000], 5000));
        let answer = exchange(&server, "GET / HTTP/1.1\r\nConnection: close\r\n\r\n");
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.ends_with("Content-Length: 5000000"), "{head}");
        assert_eq!(body.len(), 5_000_000);
    }

    #[test]
    fn dropping_it_ends_whatever_it_does() {
        let server = ScriptedServer::start(|request| match request.path.as_str() {
            "/silent" => Reply::silence(),
            "/slow" => Reply::new(200).wait(Duration::from_secs(3600)),
            _ => Reply::new(200).repeat(vec![b'x'; 1 << 20], 1 << 30), // nobody reads it
        });
        let connections = ["/silent", "/slow", "/endless"].map(|path| {
            let mut connection = TcpStream::connect(server.address()).unwrap();
            let request = format!("GET {path} HTTP/1.1\r\n\r\n");
            connection.write_all(request.as_bytes()).unwrap();
            connection
        });
        let began = Instant::now();
        while server.requests().len() < connections.len() {
            assert!(began.elapsed() < Duration::from_secs(10));
            thread::sleep(POLL);
        }
        drop(server);
        assert!(began.elapsed() < Duration::from_secs(10));
    }
}
