//! How connections to servers are opened: over TCP, or in a simulation over anything else.

use std::fmt;
use std::io;
use std::sync::Arc;

use futures::future::BoxFuture;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

/// An open connection, for bytes in both directions.
pub trait Connection: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Connection for T {}

/// A connection on its way.
pub type Opening = BoxFuture<'static, io::Result<Box<dyn Connection>>>;

/// Opens connections. The default is TCP.
#[derive(Clone, Default)]
pub struct Network(Option<Arc<Open>>);

type Open = dyn Fn(&str, u16) -> Opening + Send + Sync;

impl Network {
    /// A network of another kind, which opens a connection to a host and port as `open` does: for simulations.
    pub fn of(open: impl Fn(&str, u16) -> Opening + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(open)))
    }

    /// Opens a connection. What is written is sent at once.
    ///
    /// # Errors
    /// What the system says: refused, unreachable and the like. There is no time limit.
    pub async fn open(&self, host: &str, port: u16) -> io::Result<Box<dyn Connection>> {
        if let Some(open) = &self.0 {
            return open(host, port).await;
        }
        let stream = TcpStream::connect((host, port)).await?;
        stream.set_nodelay(true)?;
        Ok(Box::new(stream))
    }
}

impl fmt::Debug for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "simulated" } else { "TCP" })
    }
}
