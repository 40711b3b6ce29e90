// Package nft holds an nftables table as it should be: a table is a value that is read from the kernel, compared with what is
// wanted, and repaired by one transaction that holds only the difference.
//
// The types of github.com/google/nftables stop here.
package nft
