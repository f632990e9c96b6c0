//! Where a demo keeps its nodes: `demo.json` (who they are and which ports they prefer), `cookie`, and for each node a
//! folder and a log.
//!
//! A temporary folder goes with its demo. One whose demo was killed is removed by the next demo: while a demo lives it
//! holds `demo.lock`, which the system lets go of when the process ends, however it ends. What has another name, another
//! owner, no such lock, or a node that still runs in it, is left alone.

use std::fs::{self, File, OpenOptions};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::answer::Failure;
use crate::cookie;
use crate::grammar::{Address, NodeName};

/// A demo's folder. A temporary one is removed when this is dropped.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    temporary: bool,
    nodes: Vec<(NodeName, u16)>,
    /// Held while the demo lives.
    lock: Option<File>,
}

impl Folder {
    /// The named folder, new or with a demo in it; or a temporary one.
    pub fn open(named: Option<&Path>, count: Option<u16>) -> Result<Folder, Failure> {
        let folder = match named {
            None => Folder::temporary(count.unwrap_or(DEFAULT_NODES))?,
            Some(path) => Folder::named(path, count)?,
        };
        if !folder.cookie().exists() {
            cookie::make(&folder.cookie())?;
        }
        Ok(folder)
    }

    /// The names of the nodes, and the ports they prefer.
    pub fn nodes(&self) -> &[(NodeName, u16)] {
        &self.nodes
    }

    /// Where it is, if it goes with the demo.
    pub fn if_temporary(&self) -> Option<PathBuf> {
        self.temporary.then(|| self.path.clone())
    }

    /// The demo's own cookie.
    pub fn cookie(&self) -> PathBuf {
        self.path.join("cookie")
    }

    /// A node's folder.
    pub fn data_of(&self, node: &NodeName) -> PathBuf {
        self.path.join(&node.0)
    }

    /// Where a node's standard error goes.
    pub fn log_of(&self, node: &NodeName) -> PathBuf {
        self.path.join(format!("{node}.log"))
    }

    /// Records where the nodes really listen: there they listen again next time.
    pub fn remember(&self, addresses: &[(NodeName, Address)]) -> Result<(), Failure> {
        let nodes: Vec<_> = addresses.iter().map(|(name, address)| (name.clone(), address.port())).collect();
        write(&self.path, &nodes)
    }

    fn temporary(count: u16) -> Result<Folder, Failure> {
        let name = format!("{TEMPORARY}{}-{:08x}", std::process::id(), rand::random::<u32>());
        let path = std::env::temp_dir().join(name);
        let mut builder = fs::DirBuilder::new();
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.create(&path).map_err(|error| failed(&path, &error))?;
        let mut folder = Folder { path, temporary: true, nodes: usual(count), lock: None };
        folder.lock = Some(lock(&folder.path).map_err(|error| failed(&folder.path, &error))?);
        remove_orphans(&std::env::temp_dir(), &folder.path);
        Ok(folder)
    }

    fn named(path: &Path, count: Option<u16>) -> Result<Folder, Failure> {
        fs::create_dir_all(path).map_err(|error| failed(path, &error))?;
        let path = path.canonicalize().map_err(|error| failed(path, &error))?;
        let nodes = match read(&path)? {
            Some(nodes) => {
                let there = nodes.len();
                if count.is_some_and(|count| usize::from(count) != there) {
                    return Err(Failure::usage(format!(
                        "{} holds a demo of {there} nodes: leave out --nodes, or name another folder",
                        path.display()
                    )));
                }
                nodes
            }
            None => {
                let nodes = usual(count.unwrap_or(DEFAULT_NODES));
                write(&path, &nodes)?;
                nodes
            }
        };
        Ok(Folder { path, temporary: false, nodes, lock: None })
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        drop(self.lock.take());
        if self.temporary
            && let Err(error) = fs::remove_dir_all(&self.path)
        {
            log::warn!("the temporary folder {} is left behind: {error}", self.path.display());
        }
    }
}

/// Makes the lock of a new folder and takes it: under another name first, so that nobody ever finds it free.
fn lock(folder: &Path) -> std::io::Result<File> {
    let draft = folder.join("demo.lock.draft");
    let lock = OpenOptions::new().write(true).create_new(true).open(&draft)?;
    lock.lock()?;
    fs::rename(&draft, folder.join(LOCK))?;
    Ok(lock)
}

/// Removes the temporary folders of demos that were killed. `own` is one that lives, and tells who its owner is.
fn remove_orphans(among: &Path, own: &Path) {
    let entries = fs::read_dir(among).into_iter().flatten().flatten();
    let ours = entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(TEMPORARY));
    for path in ours.map(|entry| entry.path()).filter(|path| path != own) {
        if let Some(_locks) = is_orphan(&path, own)
            && let Err(error) = fs::remove_dir_all(&path)
        {
            log::info!("the folder {} of a demo that was killed is left behind: {error}", path.display());
        }
    }
}

/// The locks of a folder that no demo and no node holds; none if one is held, or if it is not a demo's folder of ours.
fn is_orphan(path: &Path, own: &Path) -> Option<Vec<File>> {
    let is_folder = |path: &Path| fs::symlink_metadata(path).ok().filter(fs::Metadata::is_dir);
    if !same_owner(&is_folder(path)?, &is_folder(own)?) {
        return None;
    }
    let free = |lock: &Path| {
        let lock = OpenOptions::new().write(true).open(lock).ok()?;
        lock.try_lock().is_ok().then_some(lock)
    };
    let mut locks = vec![free(&path.join(LOCK))?];
    for entry in fs::read_dir(path).ok()? {
        let node = entry.ok()?.path();
        if is_folder(&node).is_some() && node.join(NODE_LOCK).exists() {
            locks.push(free(&node.join(NODE_LOCK))?);
        }
    }
    Some(locks)
}

#[cfg(unix)]
fn same_owner(one: &fs::Metadata, other: &fs::Metadata) -> bool {
    use std::os::unix::fs::MetadataExt;
    one.uid() == other.uid()
}

#[cfg(not(unix))]
fn same_owner(_: &fs::Metadata, _: &fs::Metadata) -> bool {
    true
}

#[derive(Serialize, Deserialize)]
struct Record {
    format: u32,
    nodes: Vec<NodeRecord>,
}

#[derive(Serialize, Deserialize)]
struct NodeRecord {
    name: String,
    port: u16,
}

fn usual(count: u16) -> Vec<(NodeName, u16)> {
    (1..=count).map(|number| (NodeName(format!("n{number}")), FIRST_PORT + number)).collect()
}

/// The nodes that a folder records; none if it is empty.
fn read(path: &Path) -> Result<Option<Vec<(NodeName, u16)>>, Failure> {
    let file = path.join(RECORD);
    let damaged = |why: &dyn std::fmt::Display| {
        Failure::not_done(format!("{} cannot be used: {why}; name another folder with --data", file.display()))
    };
    let text = match fs::read_to_string(&file) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let mut entries = fs::read_dir(path).map_err(|error| failed(path, &error))?;
            return match entries.next() {
                None => Ok(None),
                Some(_) => Err(Failure::not_done(format!(
                    "{} is neither empty nor a demo's folder: name another with --data",
                    path.display()
                ))),
            };
        }
        Err(error) => return Err(damaged(&error)),
    };
    let record: Record = serde_json::from_str(&text).map_err(|error| damaged(&error))?;
    if record.format != FORMAT {
        return Err(damaged(&format!("its format is {}, and this program knows {FORMAT}", record.format)));
    }
    let named = |node: NodeRecord| Ok((node.name.parse()?, node.port));
    let nodes: Result<Vec<_>, String> = record.nodes.into_iter().map(named).collect();
    let nodes = nodes.map_err(|why| damaged(&why))?;
    if nodes.is_empty() { Err(damaged(&"it names no nodes")) } else { Ok(Some(nodes)) }
}

fn write(path: &Path, nodes: &[(NodeName, u16)]) -> Result<(), Failure> {
    let node = |(name, port): &(NodeName, u16)| NodeRecord { name: name.0.clone(), port: *port };
    let record = Record { format: FORMAT, nodes: nodes.iter().map(node).collect() };
    let text = serde_json::to_string_pretty(&record).map_err(|error| failed(path, &error.into()))?;
    let draft = path.join("demo.json.draft");
    fs::write(&draft, text + "\n")
        .and_then(|()| fs::rename(&draft, path.join(RECORD)))
        .map_err(|error| failed(path, &error))
}

fn failed(path: &Path, error: &std::io::Error) -> Failure {
    Failure::not_done(format!("the folder {} cannot be used: {error}; name another with --data", path.display()))
}

const RECORD: &str = "demo.json";
const LOCK: &str = "demo.lock";
/// Of a node's folder, which its process holds.
const NODE_LOCK: &str = "lock";
/// What the names of temporary folders begin with.
const TEMPORARY: &str = "synod-demo-";
const FORMAT: u32 = 1;
const DEFAULT_NODES: u16 = 3;
/// One below the port that the first node prefers.
const FIRST_PORT: u16 = 7100;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_temporary_folder_goes_with_the_demo() {
        let folder = Folder::open(None, Some(5)).unwrap();
        let path = folder.path.clone();
        assert_eq!(folder.nodes().len(), 5);
        assert!(folder.cookie().exists());
        drop(folder);
        assert!(!path.exists());
    }

    #[test]
    fn the_folder_of_a_demo_that_was_killed_is_removed_by_the_next() {
        let at = tempfile::tempdir().unwrap();
        let made = |name: &str| {
            let path = at.path().join(name);
            fs::create_dir_all(path.join("n1")).unwrap();
            File::create(path.join("n1").join(NODE_LOCK)).unwrap();
            (lock(&path).unwrap(), path)
        };
        let (killed, orphan) = made("synod-demo-1-a");
        let (_living, alive) = made("synod-demo-2-b");
        let (forgotten, running) = made("synod-demo-3-c");
        let node = OpenOptions::new().write(true).open(running.join("n1").join(NODE_LOCK)).unwrap();
        node.lock().unwrap();
        let (other, named) = made("another-4-d");
        drop((killed, forgotten, other));
        let unmarked = at.path().join("synod-demo-notes");
        fs::create_dir(&unmarked).unwrap();
        #[cfg(unix)]
        std::os::unix::fs::symlink(&named, at.path().join("synod-demo-5-e")).unwrap();

        // A child that another test has just forked shares our locks, let go or not, until it runs its own program.
        let removed = |own: &Path, path: &Path| {
            let until = std::time::Instant::now() + std::time::Duration::from_secs(20);
            while path.exists() && std::time::Instant::now() < until {
                remove_orphans(at.path(), own);
            }
            !path.exists()
        };
        assert!(removed(&alive, &orphan), "nobody holds it");
        assert!(alive.exists() && running.exists(), "a demo or a node lives there");
        assert!(unmarked.exists() && named.join(LOCK).exists(), "not a demo's");
        let (_own, own) = made("synod-demo-6-f");
        remove_orphans(at.path(), &own);
        assert!(alive.exists(), "a lock that another holds");
        drop(node);
        assert!(removed(&own, &running), "its last node has ended");
    }

    #[test]
    fn a_named_folder_is_continued_with_its_nodes_and_their_ports() {
        let at = tempfile::tempdir().unwrap();
        let first = Folder::open(Some(at.path()), None).unwrap();
        let names: Vec<_> = first.nodes().iter().map(|(name, _)| name.0.as_str()).collect();
        assert_eq!(names, ["n1", "n2", "n3"]);
        let cookie = fs::read(first.cookie()).unwrap();
        let addresses: Vec<_> =
            first.nodes().iter().map(|(name, port)| (name.clone(), Address::loopback(port + 50))).collect();
        first.remember(&addresses).unwrap();
        drop(first);
        let second = Folder::open(Some(at.path()), Some(3)).unwrap();
        assert_eq!(second.nodes()[2], (NodeName("n3".to_owned()), FIRST_PORT + 53));
        assert_eq!(fs::read(second.cookie()).unwrap(), cookie);
        let refused = Folder::open(Some(at.path()), Some(5)).unwrap_err();
        assert_eq!(refused.exit_code(), 2);
        assert!(refused.to_string().contains("demo of 3 nodes"));
    }

    #[test]
    fn a_folder_that_is_not_a_demos_is_left_alone() {
        let at = tempfile::tempdir().unwrap();
        fs::write(at.path().join("thesis.txt"), "x").unwrap();
        let refused = Folder::open(Some(at.path()), None).unwrap_err();
        assert!(refused.to_string().contains("neither empty nor a demo's folder"));
        assert_eq!(fs::read_dir(at.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_damaged_record_is_named() {
        for text in ["{", "{\"format\":1,\"nodes\":[]}", "{\"format\":9,\"nodes\":[]}"] {
            let at = tempfile::tempdir().unwrap();
            fs::write(at.path().join(RECORD), text).unwrap();
            let refused = Folder::open(Some(at.path()), None).unwrap_err();
            assert!(refused.to_string().contains("demo.json cannot be used"), "{refused}");
        }
    }
}
