"""Work in several processes, here or on a cluster: placed by joblib, asked over sockets."""
