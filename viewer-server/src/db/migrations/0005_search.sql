-- Each search is led by one of these: what is looked up first, then the beginning, by which lists go, then all else
-- that a search may narrow by. So a page is found in one index, and only the rows that it shows are read.
DROP INDEX interaction_by_began;
DROP INDEX interaction_by_site;
DROP INDEX interaction_by_counter;
DROP INDEX interaction_by_ticket;
DROP INDEX interaction_by_procedure;
DROP INDEX interaction_by_officer;
CREATE INDEX interaction_by_began ON interaction
    (began_us, interaction_id, site_id, rating_percent);
CREATE INDEX interaction_by_site ON interaction
    (site_id, began_us, interaction_id, rating_percent);
CREATE INDEX interaction_by_site_procedure ON interaction
    (site_id, procedure_id, began_us, interaction_id, rating_percent);
CREATE INDEX interaction_by_counter ON interaction
    (counter_id, began_us, interaction_id, end_us, site_id, rating_percent);
CREATE INDEX interaction_by_counter_procedure ON interaction
    (counter_id, procedure_id, began_us, interaction_id, site_id, rating_percent);
CREATE INDEX interaction_by_ticket ON interaction
    (ticket_number, began_us, interaction_id, ticket_series, site_id, counter_id, procedure_id, officer_id,
     rating_percent);
CREATE INDEX interaction_by_procedure ON interaction
    (procedure_id, began_us, interaction_id, site_id, rating_percent);
CREATE INDEX interaction_by_officer ON interaction
    (officer_id, began_us, interaction_id, site_id, procedure_id, counter_id, rating_percent);

-- Who took a number and who gave it back: the queue.
CREATE INDEX event_of_queue ON event (site_id, at_us) WHERE event_type IN ('ticket.issued', 'ticket.cancelled');
