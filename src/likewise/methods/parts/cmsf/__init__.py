"""Parts of the methods of CMSF."""
