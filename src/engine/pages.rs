//! Pages of keys and values, counted by how many sequences use them.

/// Hands out page numbers. A page is free when no sequence refers to it.
#[derive(Debug)]
pub struct PagePool {
    free: Vec<u32>,
    references: Vec<u32>,
}

impl PagePool {
    /// A pool of `pages` free pages.
    pub fn new(pages: usize) -> Self {
        // Lowest numbers first, so that a small job touches little memory.
        Self { free: (0..pages as u32).rev().collect(), references: vec![0; pages] }
    }

    /// Takes a free page, with one reference; `None` when all are in use.
    pub fn allocate(&mut self) -> Option<u32> {
        let page = self.free.pop()?;
        self.references[page as usize] = 1;
        Some(page)
    }

    /// One more sequence uses the page.
    pub fn retain(&mut self, page: u32) {
        debug_assert!(self.references[page as usize] > 0, "page {page} is free");
        self.references[page as usize] += 1;
    }

    /// One sequence less uses the page.
    pub fn release(&mut self, page: u32) {
        let references = &mut self.references[page as usize];
        debug_assert!(*references > 0, "page {page} is free already");
        *references -= 1;
        if *references == 0 {
            self.free.push(page);
        }
    }

    /// Whether more than one sequence uses the page; such a page is never written.
    pub fn is_shared(&self, page: u32) -> bool {
        self.references[page as usize] > 1
    }

    /// Pages in use, shared ones counted once.
    pub fn in_use(&self) -> usize {
        self.references.len() - self.free.len()
    }

    /// All pages.
    pub fn total(&self) -> usize {
        self.references.len()
    }
}
