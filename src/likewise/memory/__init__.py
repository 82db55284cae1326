"""What views are compared with: embeddings kept from earlier steps, and the clusters made of them."""

from likewise.memory.clusters import Clusters
from likewise.memory.rows import LABEL, Bank, Column, History, Queue

__all__ = ["LABEL", "Bank", "Clusters", "Column", "History", "Queue"]
