//! `fieldmark serve`: it answers as `predict` does, tells systemd how it goes, and no request breaks it.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;
use std::{fs, thread};

use fieldmark_trainer::random::{Stream, stream};
use rand::RngExt;
use serde_json::Value;
use tempfile::TempDir;

use crate::program::{program, run, trained};

/// Longer than anything here takes; a test that waits so long fails.
const PATIENCE: Duration = Duration::from_mins(2);

/// A trained model, and pictures.
struct House {
    folder: TempDir,
}

impl House {
    fn new() -> House {
        let folder = tempfile::tempdir().unwrap();
        trained(folder.path());
        House { folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn model(&self) -> PathBuf {
        self.path("model.onnx")
    }

    fn picture(&self) -> Vec<u8> {
        fs::read(self.picture_path()).unwrap()
    }

    fn picture_path(&self) -> PathBuf {
        self.path("birds/images/001.Amber_crowned_Warbler/Amber_crowned_Warbler_0001.jpg")
    }

    /// The program as systemd starts it, ready.
    fn server(&self, args: &[&str]) -> Server {
        let socket = tempfile::Builder::new().prefix("notify").tempdir_in(self.folder.path()).unwrap();
        let path = socket.path().join("socket");
        let systemd = UnixDatagram::bind(&path).unwrap();
        systemd.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut serve = program("fieldmark");
        serve.args(["serve", "--listen", "127.0.0.1:0"]).args(args).arg(self.model());
        serve.env("NOTIFY_SOCKET", path).env("WATCHDOG_USEC", "100000").stderr(Stdio::piped());
        let mut child = serve.spawn().unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let said = heard(lines.map_while(Result::ok));
        let told = heard(std::iter::from_fn(move || {
            let mut message = [0; 1000];
            let length = systemd.recv(&mut message).ok()?;
            Some(String::from_utf8_lossy(&message[..length]).into_owned())
        }));
        let mut server =
            Server { child, said, told, address: SocketAddr::from(([127, 0, 0, 1], 0)), _socket: socket };
        let address = server.wait_until_said("http://");
        server.address = address.rsplit('/').next().unwrap().parse().unwrap();
        server.wait_until_told("READY=1");
        server
    }
}

/// A running program; it ends with the test.
struct Server {
    child: Child,
    /// Lines on stderr.
    said: Receiver<String>,
    /// Messages to systemd.
    told: Receiver<String>,
    address: SocketAddr,
    _socket: TempDir,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Server {
    /// The next line on stderr that has `part` in it.
    #[track_caller]
    fn wait_until_said(&self, part: &str) -> String {
        next(&self.said, part)
    }

    /// The same, of what systemd is told.
    #[track_caller]
    fn wait_until_told(&self, part: &str) {
        next(&self.told, part);
    }

    fn signal(&self, name: &str) {
        let status = Command::new("kill").args([name, &self.child.id().to_string()]).status().unwrap();
        assert!(status.success());
    }

    fn ask(&self, request: &[u8]) -> Answer {
        let mut stream = connect(self.address);
        stream.write_all(request).unwrap();
        Answer::read(stream)
    }

    fn get(&self, path: &str) -> Answer {
        self.ask(format!("GET {path} HTTP/1.1\r\nHost: board\r\n\r\n").as_bytes())
    }

    /// Everything but the bytes of the picture, sent up to what the program says to it: that it takes the picture.
    fn begin(&self, length: usize) -> TcpStream {
        let mut stream = connect(self.address);
        let head = format!(
            "POST /predict HTTP/1.1\r\nHost: b\r\nContent-Length: {length}\r\nExpect: 100-continue\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).unwrap();
        let mut go = [0; 25];
        stream.read_exact(&mut go).unwrap();
        assert_eq!(&go, b"HTTP/1.1 100 Continue\r\n\r\n");
        stream
    }

    /// Ends it as systemd does.
    #[track_caller]
    fn stop(mut self) {
        self.signal("-TERM");
        self.wait_until_told("STOPPING=1");
        assert_eq!(self.child.wait().unwrap().code(), Some(0));
    }
}

/// What comes is taken at once: nobody who says it has to wait.
fn heard(mut messages: impl Iterator<Item = String> + Send + 'static) -> Receiver<String> {
    let (say, said) = channel();
    thread::spawn(move || messages.try_for_each(|message| say.send(message)));
    said
}

#[track_caller]
fn next(messages: &Receiver<String>, part: &str) -> String {
    let mut before = Vec::new();
    while let Ok(message) = messages.recv_timeout(PATIENCE) {
        if message.contains(part) {
            return message;
        }
        before.push(message);
    }
    panic!("{part:?} did not come, but {before:?}");
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// A request for what a picture shows.
fn post(target: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let head = format!("POST {target} HTTP/1.1\r\nHost: board\r\n{headers}Content-Length: {length}\r\n\r\n");
    [head.as_bytes(), body].concat()
}

/// The same in pieces of so many bytes, whose number is not said before.
fn post_chunked(body: &[u8], bytes: usize) -> Vec<u8> {
    let mut request = b"POST /predict HTTP/1.1\r\nHost: b\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
    for piece in body.chunks(bytes) {
        request.extend(format!("{:x}\r\n", piece.len()).bytes());
        request.extend([piece, b"\r\n"].concat());
    }
    request.extend(b"0\r\n\r\n");
    request
}

struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Answer {
    /// All that comes until the connection is closed.
    #[track_caller]
    fn read(mut stream: TcpStream) -> Answer {
        let mut bytes = Vec::new();
        // A program that has heard enough may close before all was sent.
        let _ = stream.read_to_end(&mut bytes);
        let text = String::from_utf8(bytes).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {text:?}"));
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Answer { status, head: head.to_lowercase(), body: body.to_owned() }
    }

    #[track_caller]
    fn expect(self, status: u16) -> Answer {
        assert_eq!(self.status, status, "{}\n{}", self.head, self.body);
        self
    }

    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }

    /// Of a request that was refused.
    fn error(&self) -> String {
        self.json()["error"].as_str().unwrap().to_owned()
    }
}

#[test]
fn the_answer_is_the_record_that_predict_gives() {
    let house = House::new();
    let server = house.server(&[]);
    let without_times = |text: &str| {
        let mut record: Value = serde_json::from_str(text).unwrap();
        assert!(record["ms"]["run"].as_f64().unwrap() > 0.0);
        record["input"] = Value::Null;
        record["ms"] = Value::Null;
        record
    };
    let predict = |args: &[&str]| {
        let (model, picture) = (house.model(), house.picture_path());
        let paths = [Path::new("predict"), &model, &picture, Path::new("--format"), Path::new("jsonl")];
        let predicted = run("fieldmark", paths.into_iter().chain(args.iter().map(Path::new))).expect(0);
        without_times(&predicted.out())
    };
    for (query, args) in
        [("", &[][..]), ("?top=1", &["--top", "1"]), ("?cues=true&top=4", &["--cues", "--top", "4"])]
    {
        let answer = server.ask(&post(&format!("/predict{query}"), "", &house.picture())).expect(200);
        assert!(answer.head.contains("content-type: application/json"), "{}", answer.head);
        assert_eq!(without_times(&answer.body), predict(args), "{query}");
    }
    let inspected =
        run("fieldmark", [Path::new("inspect"), &house.model(), "--format".as_ref(), "json".as_ref()]);
    let mut inspected: Value = serde_json::from_str(&inspected.expect(0).out()).unwrap();
    inspected["model"] = "model.onnx".into();
    assert_eq!(server.get("/model").expect(200).json(), inspected);
    let metrics = server.get("/metrics").expect(200).body;
    for line in [
        "fieldmark_picture_seconds_count 3",
        "fieldmark_answers_total{code=\"200\"} 4",
        "fieldmark_places_taken 0",
    ] {
        assert!(metrics.lines().any(|found| found == line), "{line}\n{metrics}");
    }
    assert_eq!(server.get("/healthz").expect(200).body, "alive\n");
    assert_eq!(server.get("/readyz").expect(200).body, "ready\n");
    assert!(server.get("/").expect(200).body.contains("POST /predict"));
    server.stop();
}

#[test]
fn requests_that_are_wrong_are_told_what_is() {
    let house = House::new();
    let server = house.server(&["--max-body", "1"]);
    let picture = house.picture();
    let large = vec![0; (1 << 20) + 1];
    let wide = black(5000, 5000);
    let cases: &[(&str, Vec<u8>, u16, &str)] = &[
        ("no picture", post("/predict", "", b"hello hello hello"), 422, "expected a JPEG or PNG picture"),
        ("nothing", post("/predict", "", b""), 422, "is empty"),
        ("a cut picture", post("/predict", "", &picture[..picture.len() / 2]), 422, "the picture "),
        ("too many pixels", post("/predict", "", &wide), 413, "the limit is 24000000 pixels"),
        ("too many bytes", post("/predict", "", &large), 413, "1 MiB"),
        (
            "a form",
            post("/predict", "Content-Type: multipart/form-data; boundary=x\r\n", &picture),
            415,
            "--data-binary",
        ),
        ("a wrong count", post("/predict?top=-1", "", &picture), 400, "from 1 on"),
        ("an unknown question", post("/predict?overlay=/etc/passwd", "", &picture), 400, "top=K"),
        ("the wrong method", post("/model", "", &picture), 405, "GET"),
        ("no method for it", b"GET /predict HTTP/1.1\r\nHost: b\r\n\r\n".to_vec(), 405, "POST"),
        ("nothing there", post("/../etc/passwd", "", b""), 404, "GET / lists"),
    ];
    for (name, request, status, part) in cases {
        let answer = server.ask(request);
        assert_eq!(answer.status, *status, "{name}: {}", answer.body);
        assert!(answer.error().contains(part), "{name}: {}", answer.body);
    }
    assert!(server.ask(&post_chunked(&large, 0x10000)).expect(413).error().contains("1 MiB"));
    server.ask(&b"x".repeat(20_000)).expect(431);
    server.ask(&post("/predict", "", &picture)).expect(200);
    server.stop();
}

/// A black PNG of this size.
fn black(width: u32, height: u32) -> Vec<u8> {
    let mut png = std::io::Cursor::new(Vec::new());
    image::GrayImage::new(width, height).write_to(&mut png, image::ImageFormat::Png).unwrap();
    png.into_inner()
}

#[test]
fn other_machines_need_the_secret() {
    let house = House::new();
    let open = run(
        "fieldmark",
        ["serve".as_ref(), house.model().as_os_str(), "--listen".as_ref(), "0.0.0.0:0".as_ref()],
    );
    assert!(open.expect(2).err().contains("--token-file"));
    let token = house.path("token");
    fs::write(&token, "correct-horse-battery\n").unwrap();
    let server = house.server(&["--token-file", token.to_str().unwrap()]);
    for path in ["/", "/model", "/metrics", "/nothing"] {
        let answer = server.get(path).expect(401);
        assert!(answer.head.contains("www-authenticate: bearer"), "{}", answer.head);
    }
    let picture = house.picture();
    for (header, status) in [
        ("", 401),
        ("Authorization: Bearer correct-horse-batterz\r\n", 401),
        ("Authorization: Basic correct-horse-battery\r\n", 401),
        ("Authorization: Bearer correct-horse-battery\r\n", 200),
    ] {
        server.ask(&post("/predict", header, &picture)).expect(status);
    }
    server.get("/healthz").expect(200);
    server.get("/readyz").expect(200);
    server.stop();
}

#[test]
fn a_full_house_says_so_and_goes_on() {
    let house = House::new();
    let server = house.server(&["--threads", "1", "--queue", "1"]);
    let picture = house.picture();
    let mut two = [server.begin(picture.len()), server.begin(picture.len())];
    let refused = server.ask(&post("/predict", "", &picture)).expect(503);
    assert!(
        refused.head.contains("retry-after: 1") && refused.error().contains("all 2 places"),
        "{}",
        refused.body
    );
    server.get("/readyz").expect(503);
    server.get("/healthz").expect(200);
    for stream in &mut two {
        stream.write_all(&picture).unwrap();
    }
    for stream in two {
        Answer::read(stream).expect(200);
    }
    server.ask(&post("/predict", "", &picture)).expect(200);
    server.stop();
}

#[test]
fn slow_clients_are_let_go() {
    let house = House::new();
    let server = house.server(&["--timeout", "1"]);
    let mut silent = connect(server.address);
    silent.write_all(b"GET /heal").unwrap();
    let mut half = server.begin(100);
    half.write_all(&[0xff; 50]).unwrap();
    let late = Answer::read(half).expect(408);
    assert!(late.error().contains("more than 1 s"), "{}", late.body);
    let mut rest = Vec::new();
    silent.read_to_end(&mut rest).unwrap();
    assert!(!String::from_utf8_lossy(&rest).contains("200"));
    server.ask(&post("/predict", "", &house.picture())).expect(200);
    server.stop();
}

#[test]
fn sighup_exchanges_the_model_and_keeps_it_where_the_file_is_broken() {
    let house = House::new();
    let server = house.server(&[]);
    let bytes = |server: &Server| server.get("/model").expect(200).json()["bytes"].as_u64().unwrap();
    let before = bytes(&server);
    let half = house.path("half.onnx");
    let (trained, out) = (house.path("run"), Path::new("--out"));
    let export = [Path::new("export"), &trained, out, &half, Path::new("--precision"), Path::new("f16")];
    run("fieldmark-trainer", export).expect(0);
    fs::rename(&half, house.model()).unwrap();
    server.signal("-HUP");
    server.wait_until_told("RELOADING=1");
    server.wait_until_told("READY=1");
    let after = bytes(&server);
    assert!(after < before, "{before} {after}");

    let whole = fs::read(house.model()).unwrap();
    fs::write(house.model(), &whole[..whole.len() / 2]).unwrap();
    server.signal("-HUP");
    let said = server.wait_until_said("error: ");
    assert!(said.contains("model.onnx") && said.contains("the model in use stays"), "{said}");
    server.wait_until_told("READY=1");
    assert_eq!(bytes(&server), after);
    server.ask(&post("/predict", "", &house.picture())).expect(200);
    let metrics = server.get("/metrics").expect(200).body;
    for outcome in ["loaded", "refused"] {
        assert!(
            metrics.contains(&format!("fieldmark_reloads_total{{outcome=\"{outcome}\"}} 1")),
            "{metrics}"
        );
    }
    server.stop();
}

#[test]
fn what_was_begun_is_finished_before_it_stops() {
    let house = House::new();
    let mut server = house.server(&[]);
    server.wait_until_told("WATCHDOG=1");
    server.wait_until_told("WATCHDOG=1");
    let picture = house.picture();
    let mut begun = server.begin(picture.len());
    server.signal("-TERM");
    server.wait_until_told("STOPPING=1");
    begun.write_all(&picture).unwrap();
    Answer::read(begun).expect(200);
    assert_eq!(server.child.wait().unwrap().code(), Some(0));
    assert!(TcpStream::connect(server.address).is_err());
}

/// A million of them, for example before a release, with `FIELDMARK_REQUESTS=1000000`.
#[test]
fn no_request_breaks_it() {
    let count: u64 = std::env::var("FIELDMARK_REQUESTS").map_or(4000, |count| count.parse().unwrap());
    let house = House::new();
    let server = house.server(&["--timeout", "5", "--threads", "2"]);
    let picture = house.picture();
    let seeds = [
        post("/predict?top=2&cues=true", "Content-Type: image/jpeg\r\n", &picture),
        post_chunked(&picture, 700),
        b"GET /metrics HTTP/1.1\r\nHost: board\r\nAuthorization: Bearer x\r\n\r\n".to_vec(),
        b"GET / HTTP/1.0\r\n\r\nGET /model HTTP/1.1\r\nHost: b\r\n\r\n".to_vec(),
    ];
    thread::scope(|scope| {
        for part in 0..4 {
            let (address, seeds) = (server.address, &seeds);
            scope.spawn(move || {
                for at in (part..count).step_by(4) {
                    let (request, is_whole) = mutated(seeds, at);
                    let mut stream = connect(address);
                    // It may have heard enough before the end.
                    let _ = stream.write_all(&request);
                    let _ = stream.shutdown(Shutdown::Write);
                    let mut answer = Vec::new();
                    let _ = stream.read_to_end(&mut answer);
                    let is_http = answer.is_empty() && !is_whole || answer.starts_with(b"HTTP/1.");
                    let broke = answer.starts_with(b"HTTP/1.1 500");
                    assert!(is_http && !broke, "request {at}: {}", String::from_utf8_lossy(&answer));
                }
            });
        }
    });
    server.ask(&post("/predict", "", &picture)).expect(200);
    let metrics = server.get("/metrics").expect(200).body;
    assert!(metrics.contains("\nfieldmark_places_taken 0\n"), "{metrics}");
    let named =
        metrics.lines().find_map(|line| line.strip_prefix("fieldmark_picture_seconds_count ")).unwrap();
    assert!(named.parse::<u64>().unwrap() > count / 20, "{metrics}");
    server.stop();
}

/// One of the requests with a few bytes changed, lost, doubled, or put in; and whether it is as it was.
fn mutated(seeds: &[Vec<u8>], at: u64) -> (Vec<u8>, bool) {
    let mut random = stream(Stream::Trial { number: at });
    let mut request = seeds[random.random_range(0..seeds.len())].clone();
    let changes = random.random_range(0..6);
    for _ in 0..changes {
        let whole = request.len().max(1);
        // Heads, mostly: bodies are longer, and `picture` has tests of its own.
        let end = if random.random_range(0..4) == 0 { whole } else { whole.min(150) };
        let place = random.random_range(0..end).min(request.len());
        let length = random.random_range(0..20).min(request.len() - place);
        match random.random_range(0..5) {
            0 => request.truncate(place),
            1 => drop(request.drain(place..place + length)),
            2 => {
                let copy = request[place..place + length].to_vec();
                request.splice(place..place, copy);
            }
            3 => request.insert(place, random.random_range(0..=255)),
            _ => request
                .iter_mut()
                .skip(place)
                .take(length)
                .for_each(|byte| *byte = random.random_range(0..=255)),
        }
    }
    (request, changes == 0)
}
