"""What the service keeps of contexts: sessions, histories, window policies, prefix states."""
