//! Pages of sequences that ended, kept for those that begin with the same tokens.
//!
//! A tree: a page hangs below the page before it and is found by its own tokens, which are compared whole. So the
//! way to a page spells all tokens that its keys and values were computed from.

use std::collections::HashMap;

use super::pages::PagePool;

type NodeId = u64;

const ROOT: NodeId = 0;

/// Finds pages by the tokens of a prefix. Holds a bounded number of them, and forgets the ones that were not
/// looked for the longest.
pub struct PrefixCache {
    /// Full pages, and the root, which has none.
    nodes: HashMap<NodeId, Node>,
    next: NodeId,
    clock: u64,
    page_len: usize,
    /// Pages at most.
    most: usize,
}

#[derive(Default)]
struct Node {
    page: u32,
    parent: NodeId,
    /// The tokens in `page`.
    tokens: Box<[u32]>,
    children: HashMap<Box<[u32]>, NodeId>,
    last_used: u64,
}

impl PrefixCache {
    /// An empty cache of at most `most` pages.
    pub fn new(page_len: usize, most: usize) -> Self {
        let nodes = HashMap::from([(ROOT, Node::default())]);
        Self { nodes, next: ROOT + 1, clock: 0, page_len, most }
    }

    /// The pages of the longest known prefix of `tokens`, full ones only.
    pub fn find(&mut self, tokens: &[u32]) -> Vec<u32> {
        self.clock += 1;
        let (mut at, mut pages) = (ROOT, Vec::new());
        for chunk in tokens.chunks_exact(self.page_len) {
            let Some(&child) = self.nodes[&at].children.get(chunk) else { break };
            at = child;
            pages.push(self.touch(at));
        }
        pages
    }

    /// Keeps the full pages of a sequence that ends. Where the cache has a page for the same tokens already, that one
    /// stays.
    pub fn keep(&mut self, tokens: &[u32], pages: &[u32], pool: &mut PagePool) {
        if self.most == 0 {
            return;
        }
        self.clock += 1;
        let mut at = ROOT;
        for (chunk, &page) in tokens.chunks_exact(self.page_len).zip(pages) {
            at = match self.nodes[&at].children.get(chunk) {
                Some(&child) => child,
                None => self.add(at, chunk, page, pool),
            };
            self.touch(at);
        }
        while self.nodes.len() - 1 > self.most && self.evict(pool) {}
    }

    /// Forgets one page; those that no sequence uses go first, then the one that was not looked for the longest. Whether
    /// there was one.
    pub fn evict(&mut self, pool: &mut PagePool) -> bool {
        // A page is of no use without those before it, so only ends of the tree go.
        let ends = self.nodes.iter().filter(|(id, node)| **id != ROOT && node.children.is_empty());
        let oldest = ends.min_by_key(|(_, node)| (pool.is_used(node.page), node.last_used));
        let Some((&id, _)) = oldest else { return false };
        let Some(node) = self.nodes.remove(&id) else { return false };
        if let Some(parent) = self.nodes.get_mut(&node.parent) {
            parent.children.remove(&node.tokens);
        }
        pool.forget(node.page);
        true
    }

    fn touch(&mut self, id: NodeId) -> u32 {
        let clock = self.clock;
        self.nodes.get_mut(&id).map_or(0, |node| {
            node.last_used = clock;
            node.page
        })
    }

    fn add(&mut self, parent: NodeId, tokens: &[u32], page: u32, pool: &mut PagePool) -> NodeId {
        pool.keep(page);
        let id = self.next;
        self.next += 1;
        if let Some(parent) = self.nodes.get_mut(&parent) {
            parent.children.insert(tokens.into(), id);
        }
        self.nodes.insert(id, Node { page, parent, tokens: tokens.into(), ..Node::default() });
        id
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Keeps a sequence that nobody uses any more; the page numbers tell which.
    fn keep(cache: &mut PrefixCache, pool: &mut PagePool, tokens: &[u32]) -> Vec<u32> {
        let pages: Vec<u32> = tokens.chunks(2).map(|_| pool.allocate().expect("a page")).collect();
        cache.keep(tokens, &pages, pool);
        pages.iter().for_each(|&page| pool.release(page));
        pages
    }

    #[test]
    fn finds_the_longest_prefix_in_full_pages() {
        let (mut cache, mut pool) = (PrefixCache::new(2, 10), PagePool::new(20));
        let pages = keep(&mut cache, &mut pool, &[1, 2, 3, 4, 5, 6]);
        let branch = keep(&mut cache, &mut pool, &[1, 2, 3, 4, 7, 8]);
        assert_eq!(cache.find(&[1, 2, 3, 4, 5]), pages[..2]);
        assert_eq!(cache.find(&[1, 2, 3, 4, 7, 8, 9]), [pages[0], pages[1], branch[2]]);
        assert!(cache.find(&[3, 4]).is_empty(), "a page is found below the page before it only");
        assert!(cache.find(&[1]).is_empty());
        assert_eq!(pool.in_use(), 0);
    }

    #[test]
    fn forgets_what_was_not_looked_for_the_longest() {
        let (mut cache, mut pool) = (PrefixCache::new(2, 4), PagePool::new(20));
        keep(&mut cache, &mut pool, &[1, 1, 2, 2]);
        keep(&mut cache, &mut pool, &[3, 3, 4, 4]);
        cache.find(&[1, 1, 2, 2]);
        keep(&mut cache, &mut pool, &[5, 5]);
        let mut known = |tokens: &[u32]| cache.find(tokens).len();
        assert_eq!((known(&[1, 1, 2, 2]), known(&[3, 3, 4, 4]), known(&[5, 5])), (2, 1, 1));
        // A page in use is the last to be forgotten.
        let [page] = cache.find(&[3, 3])[..] else { panic!("it is known") };
        cache.find(&[1, 1, 2, 2]);
        cache.find(&[5, 5]);
        pool.retain(page);
        for _ in 0..3 {
            assert!(cache.evict(&mut pool));
        }
        assert_eq!(cache.find(&[3, 3]), [page]);
        assert!(cache.evict(&mut pool) && !cache.evict(&mut pool));
    }
}
