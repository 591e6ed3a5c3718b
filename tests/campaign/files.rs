//! What a client does with existing files: fetch, rename, delete.

use std::io;

use crate::content::Content;
use crate::model::{Possible, leaves_open};
use crate::worker::{NAMES, Worker};

impl Worker {
    /// The content of a name, looked up if it is not known; `None` if it cannot be known now.
    pub async fn known(&mut self, name: &str) -> io::Result<Option<Option<Content>>> {
        let mut possible = self.model.possible(name);
        if possible.len() > 1 {
            self.fetch(name).await?;
            possible = self.model.possible(name);
        }
        Ok(match possible.len() {
            1 => possible.pop(),
            _ => None,
        })
    }

    pub async fn fetch(&mut self, name: &str) -> io::Result<()> {
        let mut client = self.connect().await?;
        let largest = self.model.possible(name);
        let largest = largest.iter().flatten().map(Content::size).max();
        let from = match self.random.percent(30) {
            true => self.random.below(largest.unwrap_or(0) + 1),
            false => 0,
        };
        let since = self.model.moment();
        let (bytes, (code, text)) = client.download(name, from).await?;
        self.figures.count("downloads");
        let (at, size) = (self.at, bytes.len());
        let line = format!("{at}: RETR from {from}: {size} bytes, {code} {text}");
        self.model.note(name, &line);
        // A late write may have happened in between.
        let possible = self.model.possible(name);
        let begins = |content: &Content| content.holds(from, &bytes);
        let fits: Possible = match code {
            226 => {
                let whole = |content: &&Option<Content>| {
                    let content = content.as_ref();
                    let end = from + bytes.len() as u64;
                    content.is_some_and(|content| content.size() == end && begins(content))
                };
                possible.iter().filter(whole).cloned().collect()
            }
            550 if text.contains("no such file") => {
                let none = |content: &&Option<Content>| content.is_none();
                possible.iter().filter(none).cloned().collect()
            }
            554 => return Ok(()),
            _ => {
                self.figures.count("downloads that failed");
                if !bytes.is_empty() && !possible.iter().flatten().any(begins) {
                    let what = format!("{code} {text} after {} bytes of nothing", bytes.len());
                    self.fail(name, &what);
                }
                return Ok(());
            }
        };
        if fits.is_empty() {
            let what = format!(
                "RETR from {from}: {code} {text}, {} bytes, none of {possible:#?}",
                bytes.len()
            );
            self.fail(name, &what);
        }
        self.model.set(name, fits, since);
        Ok(())
    }

    pub async fn rename(&mut self, name: &str) -> io::Result<()> {
        let to = format!("c{}/n{}", self.number, self.random.below(NAMES));
        let (Some(Some(content)), Some(_)) = (self.known(name).await?, self.known(&to).await?)
        else {
            return Ok(());
        };
        if *name == to {
            return Ok(());
        }
        let mut client = self.connect().await?;
        if client.command(&format!("RNFR {name}")).await?.0 != 350 {
            return Ok(());
        }
        let since = self.model.intend(name, None);
        self.model.intend(&to, Some(content.clone()));
        let reply = client.command(&format!("RNTO {to}")).await;
        let line = format!("{}: RNFR {name}, RNTO {to}: {reply:?}", self.at);
        self.model.note(name, &line);
        if let Ok((250, _)) = reply {
            self.figures.count("renames");
            self.model.set(name, vec![None], since);
            self.model.set(&to, vec![Some(content)], since);
            return Ok(());
        }
        self.figures.count("renames that failed");
        match &reply {
            Ok((_, text)) if text.contains(" is there, but ") => {
                self.model.set(&to, vec![Some(content)], since);
                if leaves_open(text) {
                    self.model.may_become(name, None);
                }
            }
            // The copy may be there.
            Ok((_, text)) if text.contains(" stays, check whether ") => {
                self.model.may_become(&to, Some(content));
            }
            Ok((_, text)) if !leaves_open(text) => {}
            _ => {
                self.model.may_become(name, None);
                self.model.may_become(&to, Some(content));
            }
        }
        Ok(())
    }

    pub async fn delete(&mut self, name: &str) -> io::Result<()> {
        let mut client = self.connect().await?;
        let since = self.model.intend(name, None);
        let reply = client.command(&format!("DELE {name}")).await;
        let line = format!("{}: DELE {name}: {reply:?}", self.at);
        self.model.note(name, &line);
        match &reply {
            Ok((250, text)) if text.contains("kept") => {}
            Ok((250, _)) => {
                self.figures.count("deletes");
                self.model.set(name, vec![None], since);
            }
            Ok((550, text)) if text.contains("no such file") => {
                if !self.model.possible(name).contains(&None) {
                    self.fail(name, &format!("DELE: {text}"));
                }
                self.model.set(name, vec![None], since);
            }
            Ok((_, text)) if !leaves_open(text) => {}
            _ => self.model.may_become(name, None),
        }
        Ok(())
    }
}
