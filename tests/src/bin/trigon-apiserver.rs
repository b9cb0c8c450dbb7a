//! Serves Kubernetes' API on a port of this machine, for a look at what needs a cluster without having one:
//! `trigon-apiserver [PORT]`. Prints the path of a kubeconfig, and serves until it is interrupted.

use std::{net::Ipv4Addr, process::ExitCode};

use trigon_tests::apiserver::{ApiServer, pods};

fn main() -> ExitCode {
    let port = std::env::args().nth(1).map_or(Ok(0), |port| port.parse::<u16>());
    let Ok(port) = port else {
        eprintln!("usage: trigon-apiserver [PORT]");
        return ExitCode::from(2);
    };
    let server = ApiServer::at((Ipv4Addr::LOCALHOST, port).into(), true);
    server.put(pods::node("node"));
    println!("export KUBECONFIG={}", server.kubeconfig().display());
    eprintln!("serving Kubernetes' API on {} until Ctrl-C", server.url());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("make a runtime");
    let _ = runtime.block_on(tokio::signal::ctrl_c());
    ExitCode::SUCCESS
}
