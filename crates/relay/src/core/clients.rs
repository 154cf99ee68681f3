//! Where connections live: numbered slots, used again under another generation.

use super::{ClientId, client::Client};

/// The connections.
#[derive(Debug, Default)]
pub(crate) struct Clients {
    slots: Vec<Slot>,
    free: Vec<u32>,
}

#[derive(Debug)]
struct Slot {
    generation: u32,
    client: Option<Box<Client>>,
}

impl Clients {
    pub(crate) fn insert(&mut self, client: Client) -> ClientId {
        let client = Some(Box::new(client));
        if let Some(index) = self.free.pop() {
            let slot = &mut self.slots[index as usize];
            slot.client = client;
            return ClientId { index, generation: slot.generation };
        }
        let index = u32::try_from(self.slots.len()).expect("a process has fewer than 2^32 connections");
        self.slots.push(Slot { generation: 0, client });
        ClientId { index, generation: 0 }
    }

    pub(crate) fn get(&self, id: ClientId) -> Option<&Client> {
        self.slots.get(id.index as usize).filter(|slot| slot.generation == id.generation)?.client.as_deref()
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, id: ClientId) -> Option<&mut Client> {
        self.slots
            .get_mut(id.index as usize)
            .filter(|slot| slot.generation == id.generation)?
            .client
            .as_deref_mut()
    }

    pub(crate) fn remove(&mut self, id: ClientId) -> Option<Client> {
        let slot = self.slots.get_mut(id.index as usize).filter(|slot| slot.generation == id.generation)?;
        let client = slot.client.take()?;
        slot.generation = slot.generation.wrapping_add(1);
        self.free.push(id.index);
        Some(*client)
    }

    /// All of them, by number.
    pub(crate) fn ids(&self) -> Vec<ClientId> {
        let ids = (0..).zip(&self.slots).filter(|(_, slot)| slot.client.is_some());
        ids.map(|(index, slot)| ClientId { index, generation: slot.generation }).collect()
    }

    pub(crate) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }
}
