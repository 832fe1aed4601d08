// SPDX-License-Identifier: Apache-2.0

// usage: cri-call SOCKET SERVICE/METHOD <REQUEST >ANSWER
// One gRPC call with the bytes of its messages as they are: whoever calls encodes and decodes them. Exit code 1 and the
// status on standard error when the call fails.
package main

import (
	"context"
	"fmt"
	"io/ioutil"
	"net"
	"os"
	"time"

	"google.golang.org/grpc"
)

const patience = 180 * time.Second

type asItIs struct{}

func (asItIs) Marshal(v interface{}) ([]byte, error) { return *v.(*[]byte), nil }

func (asItIs) Unmarshal(data []byte, v interface{}) error {
	*v.(*[]byte) = append([]byte(nil), data...)
	return nil
}

func (asItIs) Name() string { return "proto" }

func dial(ctx context.Context, path string) (net.Conn, error) {
	return (&net.Dialer{}).DialContext(ctx, "unix", path)
}

func call(socket, method string) error {
	request, err := ioutil.ReadAll(os.Stdin)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	conn, err := grpc.DialContext(ctx, socket, grpc.WithInsecure(), grpc.WithBlock(), grpc.WithContextDialer(dial))
	if err != nil {
		return err
	}
	defer conn.Close()
	var answer []byte
	if err := conn.Invoke(ctx, "/"+method, &request, &answer, grpc.ForceCodec(asItIs{})); err != nil {
		return err
	}
	_, err = os.Stdout.Write(answer)
	return err
}

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: cri-call SOCKET SERVICE/METHOD <REQUEST >ANSWER")
		os.Exit(2)
	}
	if err := call(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
