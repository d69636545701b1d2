//! `fieldmark serve`: what pictures show, over HTTP.
//!
//! hyper speaks HTTP/1.1 on one thread of tokio's; pictures are decoded and named by others. A connection carries one
//! request, and each of its parts has a time limit, so that a slow client holds a place for no longer than that. What
//! is in memory at once is bounded: connections, places for pictures, and bytes of each.

mod answer;
mod metrics;
mod model;
mod service;
mod token;

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::panic::{self, PanicHookInfo};
use std::process;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use anyhow::{Context, anyhow};
use fieldmark::engine::cores;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use sd_notify::NotifyState;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Notify, Semaphore, oneshot};
use tokio::time::{interval, sleep};

use crate::args::{ServeArgs, UsageError};
use crate::exit::Exit;
use crate::messages::{reason, sentence, tell};
use answer::answer;
use service::Service;
use token::Token;

/// Connections besides those that have a place for a picture, so that a full house still says so, and how it is. Others wait in
/// the system's queue.
const CONNECTIONS: usize = 64;

/// Bytes of a request's head.
const HEAD: usize = 16 << 10;

/// Runs the subcommand, until a signal ends it.
///
/// # Errors
/// A usage that makes no sense, a refused model or one that fails its self-test, and an address that cannot be had.
pub fn run(args: &ServeArgs) -> anyhow::Result<Exit> {
    let token = args.token_file.as_deref().map(Token::read).transpose()?;
    check_usage(args.listen, token.is_some())?;
    let threads = args.threads.map_or_else(cores, usize::from);
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_all().max_blocking_threads(threads).build();
    let runtime = runtime.context("the system gives no event queue")?;
    let outcome = runtime.block_on(serve(args, token, threads));
    // Pictures of clients that have gone may still be worked on.
    runtime.shutdown_background();
    outcome.map(|()| Exit::Done)
}

fn check_usage(listen: SocketAddr, has_token: bool) -> Result<(), UsageError> {
    if has_token || listen.ip().to_canonical().is_loopback() {
        return Ok(());
    }
    Err(UsageError(format!(
        "--listen {listen} lets other machines in without a secret; make one (head -c 24 /dev/urandom | \
         base64 > token) and add --token-file token"
    )))
}

/// The end of the boards' small program, which does not unwind. Unlike a refused model's, this exit code is one after which
/// systemd starts it again.
fn end(panic: &PanicHookInfo) {
    tell("error", &format!("a picture broke the program ({})", reason(panic)));
    process::exit(Exit::SomeFailed as i32);
}

/// Loads the model and answers until a signal ends it.
async fn serve(args: &ServeArgs, token: Option<Token>, threads: usize) -> anyhow::Result<()> {
    let mut hangup = signal(SignalKind::hangup())?;
    let socket = if args.listen.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_reuseaddr(true)?;
    let refused = || format!("cannot listen on {}; choose another address with --listen", args.listen);
    socket.bind(args.listen).with_context(refused)?;
    let service = Arc::new(Service::new(args, token, threads)?);
    if cfg!(panic = "abort") {
        panic::set_hook(Box::new(end));
    }
    // Until here they end a program that has begun nothing.
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let listener = socket.listen(128).with_context(refused)?;
    tell("note", &format!("listening on http://{}", listener.local_addr()?));
    notify(&[NotifyState::Ready]);
    let all_connections = service.all_places + CONNECTIONS;
    let connections = Arc::new(Semaphore::new(all_connections));
    let accepting = tokio::spawn(accept(listener, Arc::clone(&connections), Arc::clone(&service)));
    if let Some(limit) = sd_notify::watchdog_enabled() {
        tokio::spawn(report_life((limit / 4).max(Duration::from_millis(1)), Arc::clone(&service)));
    }
    tokio::spawn(async move {
        while hangup.recv().await.is_some() {
            reload(&service).await;
        }
    });
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    notify(&[NotifyState::Stopping]);
    accepting.abort();
    tell("note", "stopping; begun requests are finished first");
    // All permits are here once all connections are closed. A second signal ends it at once.
    tokio::select! {
        _ = connections.acquire_many(all_connections as u32) => {}
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
    let mut before = 0;
    loop {
        ticks.tick().await;
        let [begun, done] = service.metrics.progress();
        if begun == done || done != before {
            notify(&[NotifyState::Watchdog]);
        }
        before = done;
    }
}

/// Loads the model file again, in a thread of its own. One that is refused is said, and changes nothing.
async fn reload(service: &Arc<Service>) {
    notify(
        &NotifyState::monotonic_usec_now().map_or_else(|_| vec![], |now| vec![NotifyState::Reloading, now]),
    );
    let (tell_outcome, outcome) = oneshot::channel();
    let worker = Arc::clone(service);
    // Without a thread nothing is sent.
    let _ = thread::Builder::new().spawn(move || tell_outcome.send(worker.model.reload()));
    let outcome = outcome.await.unwrap_or_else(|_| Err(anyhow!("loading the model again broke off")));
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

/// One request, one answer, also to a client that has closed its side after the request.
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
    http.timer(TokioTimer::new()).header_read_timeout(limit).keep_alive(false).half_close(true);
    http.max_buf_size(HEAD);
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
