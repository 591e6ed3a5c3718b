//! The blocks of a recursive listing: one for each directory, printed parents first.

use ftp_proto::listing::name_line;

/// The collected blocks, in the order in which they are printed.
#[derive(Debug, Default)]
pub(super) struct Blocks {
    blocks: Vec<Block>,
    /// The names of the open directories and the indices of their blocks. The first is the root.
    open: Vec<(String, usize)>,
    pub(super) bytes: usize,
    /// The heading that was printed last.
    printed: Option<String>,
}

#[derive(Debug)]
struct Block {
    heading: String,
    lines: Vec<u8>,
    /// Whether its heading was printed. Then it is printed again only for more lines.
    begun: bool,
}

impl Blocks {
    /// Begins a root.
    pub(super) fn begin(&mut self, heading: String) {
        self.open.clear();
        self.push(String::new(), heading);
    }

    /// Opens a directory in the directory that is open.
    pub(super) fn open(&mut self, name: &str) {
        let parent = self.open.last().and_then(|(_, at)| self.blocks.get(*at));
        let heading = parent.map_or_else(|| name.to_owned(), |parent| below(&parent.heading, name));
        self.push(name.to_owned(), heading);
    }

    fn push(&mut self, name: String, heading: String) {
        self.bytes += heading.len() + name.len() + size_of::<Block>();
        self.open.push((name, self.blocks.len()));
        self.blocks.push(Block {
            heading,
            lines: Vec::new(),
            begun: false,
        });
    }

    /// Closes the directories that are not above this one. Returns the number of its elements that
    /// stay open.
    pub(super) fn leave_to(&mut self, elements: &[&str]) -> usize {
        let open = self.open.iter().skip(1);
        let common = open
            .zip(elements)
            .take_while(|((name, _), element)| name == *element)
            .count();
        self.open.truncate(1 + common);
        common
    }

    /// Adds a line to the directory that is open.
    pub(super) fn line(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        let block = self
            .open
            .last()
            .and_then(|(_, at)| self.blocks.get_mut(*at));
        if let Some(block) = block {
            let before = block.lines.len();
            write(&mut block.lines);
            self.bytes += block.lines.len() - before;
        }
    }

    /// Prints all collected blocks. Open directories stay open.
    pub(super) fn print(&mut self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.bytes);
        for block in &mut self.blocks {
            if block.begun && block.lines.is_empty() {
                continue;
            }
            if self.printed.as_ref() != Some(&block.heading) {
                if self.printed.is_some() {
                    out.extend_from_slice(b"\r\n");
                }
                name_line(&mut out, &format!("{}:", block.heading));
                self.printed = Some(block.heading.clone());
            }
            out.append(&mut block.lines);
            block.begun = true;
        }
        let mut kept = Vec::with_capacity(self.open.len());
        for (at, block) in std::mem::take(&mut self.blocks).into_iter().enumerate() {
            if let Some((_, open)) = self.open.iter_mut().find(|(_, open)| *open == at) {
                *open = kept.len();
                kept.push(block);
            }
        }
        self.blocks = kept;
        self.bytes = 0;
        out
    }
}

/// The heading of a directory in the directory with this heading.
pub(super) fn below(heading: &str, name: &str) -> String {
    format!("{}/{name}", heading.strip_suffix('/').unwrap_or(heading))
}
