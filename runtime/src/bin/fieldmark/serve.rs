//! `fieldmark serve`: what pictures show, over HTTP.
//!
//! hyper speaks HTTP/1.1 on one thread of tokio's; pictures are decoded and named by others. A connection carries one
//! request, and each of its parts has a time limit, so that a slow client holds a place for no longer than that. What
//! is in memory at once is bounded: connections, places for pictures, and bytes of each.

mod answer;
mod metrics;
mod model;
mod token;

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::panic::{self, PanicHookInfo};
use std::process;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use fieldmark::engine::cores;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use sd_notify::NotifyState;
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Notify, Semaphore};
use tokio::time::{interval, sleep};

use crate::args::{ServeArgs, UsageError};
use crate::{Exit, sentence, tell};
use answer::answer;
use metrics::Metrics;
use model::Model;
use token::Token;

/// Connections at a time; others wait in the system's queue. More than places for pictures, so that a full house still
/// says so, and how it is.
const CONNECTIONS: usize = 64;

/// Bytes of a request's head.
const HEAD: usize = 16 << 10;

/// What all requests share.
struct Service {
    model: Model,
    token: Option<Token>,
    /// For pictures that are sent, wait, or are being named.
    places: Arc<Semaphore>,
    /// Of these.
    all_places: usize,
    /// Bytes of a picture.
    max_body: usize,
    /// For each thing that a client has to do.
    limit: Duration,
    metrics: Metrics,
}

/// Runs the subcommand, until a signal ends it.
///
/// # Errors
/// A usage that makes no sense, a refused model or one that fails its self-test, and an address that cannot be had.
pub fn run(args: &ServeArgs) -> anyhow::Result<Exit> {
    let token = args.token_file.as_deref().map(Token::read).transpose()?;
    check_usage(args.listen, token.is_some())?;
    let listener = std::net::TcpListener::bind(args.listen)
        .and_then(|listener| listener.set_nonblocking(true).map(|()| listener))
        .with_context(|| format!("cannot listen on {}; choose another address with --listen", args.listen))?;
    let threads = args.threads.map_or_else(cores, usize::from);
    let all_places = threads + usize::from(args.queue);
    let service = Service {
        model: Model::load(args)?,
        token,
        places: Arc::new(Semaphore::new(all_places)),
        all_places,
        max_body: usize::from(args.max_body) << 20,
        limit: Duration::from_secs(args.timeout.into()),
        metrics: Metrics::default(),
    };
    if cfg!(panic = "abort") {
        panic::set_hook(Box::new(end));
    }
    // One more, so that loading a model again takes no picture's thread.
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().max_blocking_threads(threads + 1).build();
    runtime.context("the system gives no event queue")?.block_on(serve(listener, Arc::new(service)))?;
    Ok(Exit::Done)
}

fn check_usage(listen: SocketAddr, has_token: bool) -> Result<(), UsageError> {
    if has_token || listen.ip().to_canonical().is_loopback() {
        return Ok(());
    }
    Err(UsageError(format!(
        "--listen {listen} lets other machines in, and nobody has to show a secret; make one (head -c 24 /dev/urandom | \
         base64 > token) and add --token-file token"
    )))
}

/// The end of the boards' small program, which does not unwind. Unlike a refused model's, this exit code is one after which
/// systemd starts it again.
fn end(panic: &PanicHookInfo) {
    let reason = panic.payload_as_str().unwrap_or("no reason given");
    tell("error", &crate::text::printable(&format!("a picture broke the program ({reason})")));
    process::exit(Exit::SomeFailed as i32);
}

async fn serve(listener: std::net::TcpListener, service: Arc<Service>) -> anyhow::Result<()> {
    let listener = TcpListener::from_std(listener).context("the system does not wait for connections")?;
    let signals = [SignalKind::hangup(), SignalKind::terminate(), SignalKind::interrupt()].map(signal);
    let [hangup, terminate, interrupt] = signals;
    let (mut hangup, mut terminate, mut interrupt) = (hangup?, terminate?, interrupt?);
    tell("note", &format!("listening on http://{}", listener.local_addr()?));
    notify(&[NotifyState::Ready]);
    let connections = Arc::new(Semaphore::new(CONNECTIONS));
    let accepting = tokio::spawn(accept(listener, Arc::clone(&connections), Arc::clone(&service)));
    if let Some(period) = sd_notify::watchdog_enabled() {
        tokio::spawn(report_life(period / 2, Arc::clone(&service)));
    }
    loop {
        tokio::select! {
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            _ = hangup.recv() => reload(&service).await,
        }
    }
    notify(&[NotifyState::Stopping]);
    accepting.abort();
    tell("note", "stopping; begun requests are finished first");
    // All permits are here once all connections are closed. A second signal ends it at once.
    tokio::select! {
        _ = connections.acquire_many(CONNECTIONS as u32) => {}
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}

/// Tells systemd, if it has started this.
fn notify(states: &[NotifyState]) {
    if let Err(error) = sd_notify::notify(states) {
        tell("warning", &format!("systemd cannot be told how it goes ({error})"));
    }
}

/// Tells systemd's watchdog that pictures get done, or that none is there to be done.
async fn report_life(period: Duration, service: Arc<Service>) {
    let mut ticks = interval(period);
    let mut before = None;
    loop {
        ticks.tick().await;
        let done = Some(service.metrics.done());
        if service.places.available_permits() == service.all_places || done != before {
            notify(&[NotifyState::Watchdog]);
        }
        before = done;
    }
}

/// Loads the model file again. One that is refused is said, and changes nothing.
async fn reload(service: &Arc<Service>) {
    notify(
        &NotifyState::monotonic_usec_now().map_or_else(|_| vec![], |now| vec![NotifyState::Reloading, now]),
    );
    let worker = Arc::clone(service);
    let outcome = tokio::task::spawn_blocking(move || worker.model.reload()).await;
    let outcome = outcome.unwrap_or_else(|error| Err(error.into()));
    service.metrics.count_reload(outcome.is_ok());
    match outcome {
        Ok(()) => tell("note", "the model was loaded again"),
        Err(error) => tell("error", &format!("{}; the model in use stays", sentence(&error))),
    }
    notify(&[NotifyState::Ready]);
}

async fn accept(listener: TcpListener, connections: Arc<Semaphore>, service: Arc<Service>) {
    loop {
        let Ok(permit) = Arc::clone(&connections).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                let service = Arc::clone(&service);
                tokio::spawn(async move {
                    converse(stream, service).await;
                    drop(permit);
                });
            }
            // Out of file descriptors or memory, mostly: others may give some back.
            Err(error) if !is_clients(&error) => {
                tell("warning", &format!("a connection cannot be taken ({error})"));
                sleep(Duration::from_secs(1)).await;
            }
            Err(_) => {}
        }
    }
}

/// The client went away before it was let in.
fn is_clients(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset)
}

/// One request, one answer.
async fn converse(stream: TcpStream, service: Arc<Service>) {
    let limit = service.limit;
    let answered = Arc::new(Notify::new());
    let respond = service_fn(|request| {
        let (service, answered) = (Arc::clone(&service), Arc::clone(&answered));
        async move {
            let response = answer(&service, request).await;
            service.metrics.count(response.status());
            answered.notify_one();
            Ok::<_, Infallible>(response)
        }
    });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(limit).keep_alive(false).max_buf_size(HEAD);
    let connection = http.serve_connection(TokioIo::new(stream), respond);
    let unread = async {
        answered.notified().await;
        sleep(limit).await;
    };
    // A broken connection is the client's affair.
    tokio::select! {
        _ = connection => {}
        () = unread => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machine_is_let_in_without_a_token() {
        for (listen, accepted) in [
            ("127.0.0.1:8080", true),
            ("127.8.9.1:80", true),
            ("[::1]:8080", true),
            ("[::ffff:127.0.0.1]:1", true),
            ("0.0.0.0:8080", false),
            ("[::]:8080", false),
            ("192.168.1.4:8080", false),
        ] {
            let listen = listen.parse().unwrap();
            assert_eq!(check_usage(listen, false).is_ok(), accepted, "{listen}");
            assert!(check_usage(listen, true).is_ok());
        }
    }
}
