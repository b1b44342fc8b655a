//! A wire that can be cut: forwards TCP to a port of this machine.

use anyhow::Result;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

/// The wire.
pub struct Proxy {
    port: u16,
    target: u16,
    task: Option<JoinHandle<()>>,
}

impl Proxy {
    /// Forwards a free port to `target`.
    pub async fn start(target: u16) -> Result<Self> {
        let mut proxy = Self {
            port: 0,
            target,
            task: None,
        };
        proxy.mend().await?;
        Ok(proxy)
    }

    /// The port to connect to.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Ends all connections; new ones are refused.
    pub async fn cut(&mut self) {
        if let Some(task) = self.task.take() {
            task.abort();
            // The connections end when the task and its children are gone.
            let _ = task.await;
        }
    }

    /// Forwards again, on the same port.
    pub async fn mend(&mut self) -> Result<()> {
        let listener = TcpListener::bind(("127.0.0.1", self.port)).await?;
        self.port = listener.local_addr()?.port();
        let target = self.target;
        self.task = Some(tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((mut near, _)) = listener.accept().await {
                connections.spawn(async move {
                    if let Ok(mut far) = TcpStream::connect(("127.0.0.1", target)).await {
                        let _ = tokio::io::copy_bidirectional(&mut near, &mut far).await;
                    }
                });
            }
        }));
        Ok(())
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}
