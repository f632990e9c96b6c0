//! Relays: each node is reached through one of its own, so that a test can cut a node off while it runs, as a broken
//! cable would.
//!
//! Whoever dials a node says in the handshake under which address it is reached itself: by that a relay knows whose
//! connection it carries.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// One relay for each node.
pub struct Relays {
    roads: Arc<Roads>,
    cut_off: watch::Sender<Option<String>>,
}

struct Roads {
    /// Where each node's relay is.
    addresses: BTreeMap<String, String>,
    /// Where each node listens, once it does.
    nodes: Mutex<BTreeMap<String, String>>,
}

impl Relays {
    /// Relays to nodes of these names.
    pub async fn to(names: &[String]) -> Relays {
        let (mut addresses, mut listeners) = (BTreeMap::new(), Vec::new());
        for name in names {
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
            addresses.insert(name.clone(), listener.local_addr().expect("it is bound").to_string());
            listeners.push((name.clone(), listener));
        }
        let roads = Arc::new(Roads { addresses, nodes: Mutex::default() });
        let (cut_off, cuts) = watch::channel(None);
        for (name, listener) in listeners {
            tokio::spawn(serve(name, listener, roads.clone(), cuts.clone()));
        }
        Relays { roads, cut_off }
    }

    /// What this node is to advertise.
    pub fn address(&self, name: &str) -> String {
        self.roads.addresses[name].clone()
    }

    /// This is where the node listens.
    pub fn lead_to(&self, name: &str, listening: &str) {
        self.roads.nodes.lock().expect("nobody panics with it").insert(name.into(), listening.into());
    }

    /// From now on this node reaches nobody, and nobody reaches it.
    pub fn cut_off(&self, name: &str) {
        self.cut_off.send_replace(Some(name.into()));
    }

    /// Everybody reaches everybody.
    pub fn heal(&self) {
        self.cut_off.send_replace(None);
    }
}

async fn serve(name: String, listener: TcpListener, roads: Arc<Roads>, cuts: watch::Receiver<Option<String>>) {
    while let Ok((dialler, _)) = listener.accept().await {
        let node = roads.nodes.lock().expect("nobody panics with it").get(&name).cloned();
        if let Some(node) = node {
            let carrying = Carrying { to: name.clone(), from: None, said: Vec::new(), roads: roads.clone() };
            tokio::spawn(carrying.carry(dialler, node, cuts.clone()));
        }
    }
}

/// One connection.
struct Carrying {
    to: String,
    /// Whose it is, once that is known; never, if it is a client's.
    from: Option<String>,
    /// The beginning of what the dialler said.
    said: Vec<u8>,
    roads: Arc<Roads>,
}

impl Carrying {
    /// Until either end, or a cut, ends it.
    async fn carry(mut self, mut dialler: TcpStream, node: String, mut cuts: watch::Receiver<Option<String>>) {
        let Ok(mut node) = TcpStream::connect(node).await else { return };
        let (mut there, mut back) = (vec![0; CHUNK], vec![0; CHUNK]);
        while !self.is_cut(&cuts) {
            let carried = tokio::select! {
                changed = cuts.changed() => changed.map_err(|_| ()),
                read = dialler.read(&mut there) => match read {
                    Ok(length) if length > 0 => {
                        self.listen(&there[..length]);
                        if self.is_cut(&cuts) {
                            return;
                        }
                        node.write_all(&there[..length]).await.map_err(|_| ())
                    }
                    _ => return,
                },
                read = node.read(&mut back) => match read {
                    Ok(length) if length > 0 => dialler.write_all(&back[..length]).await.map_err(|_| ()),
                    _ => return,
                },
            };
            if carried.is_err() {
                return;
            }
        }
    }

    fn is_cut(&self, cuts: &watch::Receiver<Option<String>>) -> bool {
        let cut_off = cuts.borrow();
        cut_off.as_ref().is_some_and(|name| *name == self.to || Some(name) == self.from.as_ref())
    }

    /// Finds out whose connection it is.
    fn listen(&mut self, bytes: &[u8]) {
        if self.from.is_some() || self.said.len() > HANDSHAKE {
            return;
        }
        self.said.extend_from_slice(bytes);
        let says = |address: &&String| self.said.windows(address.len()).any(|said| said == address.as_bytes());
        let mut known = self.roads.addresses.iter();
        self.from = known.find(|(_, address)| says(address)).map(|(name, _)| name.clone());
    }
}

const CHUNK: usize = 64 << 10;
/// Behind so many bytes no dialler says who it is.
const HANDSHAKE: usize = 4 << 10;
